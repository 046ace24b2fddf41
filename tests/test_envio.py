"""O envio: as mãos dadas, a caixa de saída, o carteiro, e tudo o que não pode ficar preso nem se perder."""

import contextlib
import errno
import inspect
import os
import queue
import re
import socket
import sys
import textwrap
import threading
import tracemalloc
from unittest.mock import Mock, call

import pytest
from conferidor.regras import ANA_DESCONECTOU, ANA_ENCERROU, LIMITE_NA_FILA, NA_FILA, TIPO_INVALIDO, VOCE_ENCERROU
from modelo_do_envio import GRANDES, PEQUENOS, CarteiroDoModelo, ConexaoDoModelo, Defeito, Mundo, explorar
from participante import FECHOU, PRAZO
from test_protocolo import casos
from vigias import TravaVigiada

import servidor as modulo
from atendimento import maquina
from atendimento.carteiro import Carteiro, _Cuidado
from atendimento.conexao import CORTADA, DESPEDIDA, FECHADA, Conexao
from atendimento.filas import FIM_DE_FLUXO, Filas
from protocolo import MAXIMO_DO_FATO, Fim, Mensagem, Texto, Tipo

# --- O modelo -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cenarios", [PEQUENOS, pytest.param(GRANDES, marks=pytest.mark.demorado)], ids=["um-fala", "dois-falam"]
)
def test_em_nenhuma_ordem_uma_linha_fica_nem_alguem_espera_para_sempre(cenarios):
    """Todas as ordens de quem fala, de quem encerra, do carteiro, e de quem lê, emudece, morre ou se cala."""
    for azar, cenario in cenarios:
        assert explorar(lambda: Mundo(azar, **cenario)) > 50


def plantado(metodo, trocas: dict[str, str]):
    """O mesmo método, com um pedaço do código trocado."""
    codigo, espaco = textwrap.dedent(inspect.getsource(metodo)), dict(metodo.__globals__)
    for de, para in trocas.items():
        assert codigo.count(de) == 1, f"{de!r} já não está em {metodo.__qualname__}"
        codigo = codigo.replace(de, para)
    exec(codigo, espaco)
    return espaco[metodo.__name__]


SOLTA, TOMA = "    self.trava.release()\n", "    for destino, *_ in contar:\n        yield"
ESPERA = "yield lambda: not self.yuri.caixa or self.yuri.vez.livre() and self.nao_espera_para_enviar()\n"
ESPERA_COM_A_VEZ = "yield self.yuri.vez.livre\n    with self.yuri.vez:\n        yield self.nao_espera_para_enviar\n"
COM_A_VEZ = "yield self.yuri.vez.livre\n    self.yuri.vez.acquire()\n    self.yuri.sock.recv()\n"
TENTA = """yield self.trava.livre
    self.fatos.append(linha)
    if FIM_DE_FLUXO not in self.fatos:
        self.yuri.caixa += linha
    yield sempre
    if self.yuri.vez.livre():
        self.yuri.vez.acquire()
        self.yuri.escoar()
        yield sempre
        self.yuri.vez.release()
    return
"""
DEFEITOS = {
    "solta-a-trava-antes-da-vez": (Mundo.fato, {SOLTA: "", TOMA: f"{SOLTA}{TOMA}"}),
    "envia-sem-a-vez": (Mundo.fato, {"destino.vez.acquire()": "pass", "destino.vez.release()": "pass"}),
    "tenta-a-vez-sem-esperar": (Mundo.falar, {"yield from self.fato(lambda: [(self.yuri, linha)])\n": TENTA}),
    "espera-com-a-vez-na-mao": (Mundo.falar, {f"    {ESPERA}": f"    {ESPERA_COM_A_VEZ}"}),
    "pede-a-trava-com-a-vez-na-mao": (Mundo.thread_de_yuri, {"self.yuri.sock.recv()\n": COM_A_VEZ}),
    "poe-na-caixa-depois-da-despedida": (Conexao.por_na_caixa, {"is not ABERTA": "is CORTADA"}),
    "poe-na-caixa-depois-do-corte": (Conexao.por_na_caixa, {"is not ABERTA": "is DESPEDIDA"}),
    "joga-fora-a-sobra": (Conexao.escoar, {"self.caixa[quantos:]": 'b""'}),
    "acaba-o-fluxo-antes-de-esvaziar": (Conexao.escoar, {"is DESPEDIDA and not self.caixa": "is DESPEDIDA"}),
    "nao-acaba-o-fluxo": (Conexao.escoar, {"self.sock.shutdown(socket.SHUT_WR)": "pass"}),
    "insiste-com-quem-morreu": (Conexao.escoar, {"self.cortar()": "pass"}),
    "nao-avisa-da-sobra": (Conexao.entregar, {"self.caixa or self.situacao": "self.situacao"}),
    "nao-avisa-da-despedida": (Conexao.entregar, {" or self.situacao is not ABERTA": ""}),
    "corta-sem-esvaziar-a-caixa": (Conexao.cortar, {"self.caixa = CORTADA": "_ = CORTADA"}),
    "corta-sem-acordar-quem-le": (Conexao.cortar, {"self.sock.shutdown(socket.SHUT_RDWR)": "pass"}),
    "posicoes-que-ninguem-envia": (Carteiro._publicar, {"self._cumprir(self._visitar, cliente)": "pass"}),
    "o-carteiro-nao-envia": (Carteiro._visitar, {"conexao.escoar()": "pass"}),
    "o-carteiro-esquece-a-sobra": (Carteiro._visitar, {"falta = conexao.caixa or": "falta ="}),
    "o-carteiro-esquece-a-despedida": (Carteiro._visitar, {"conexao.situacao is DESPEDIDA or cuidado": "cuidado"}),
    "fecha-com-sobra": (Carteiro._visitar, {"or not conexao.caixa and": "or"}),
    "fecha-a-que-ainda-tem-thread": (Carteiro._visitar, {"if cuidado.orfa and (": "if True and ("}),
    "fecha-sem-a-vez": (Carteiro._visitar, {"with conexao.vez:": "if True:"}),
}


@pytest.mark.parametrize("metodo, trocas", DEFEITOS.values(), ids=DEFEITOS.keys())
def test_a_exploracao_acha_cada_defeito_plantado(metodo, trocas):
    """Cada regra do envio é necessária: sem ela, há uma ordem em que algo se perde, se mistura ou para."""
    ruim = {metodo.__name__: plantado(metodo, trocas)}
    if metodo.__qualname__.startswith("Conexao"):
        ruim = {"conexao_de": type("Defeituosa", (ConexaoDoModelo,), ruim)}
    elif metodo.__qualname__.startswith("Carteiro"):
        ruim = {"carteiro_de": type("Defeituoso", (CarteiroDoModelo,), ruim)}
    with pytest.raises((Defeito, AssertionError)):
        for azar, cenario in PEQUENOS:
            explorar(lambda: type("Plantado", (Mundo,), ruim)(azar, **cenario))


@casos(
    "entram, fato, passos",
    {
        "mensagem": (
            ("ana", "yuri"),
            lambda mundo: mundo.carteiro.filas.repassar_chat(mundo.ana, Mensagem("Ana", ["oi"])),
            lambda mundo: mundo.falar(b"a"),
        ),
        "dois-destinos": (
            ("ana", "yuri"),
            lambda mundo: mundo.carteiro.filas.atender(mundo.ana, Fim()),
            Mundo.encerrar,
        ),
        "posicoes": (("yuri",), lambda mundo: mundo.carteiro._publicar(), Mundo.publicar),
    },
)
def test_o_codigo_anda_como_o_modelo(entram, fato, passos):
    """A trava e as vezes se tomam e se soltam na ordem do modelo, e o envio é onde ele o põe."""
    modelo, real = Mundo("morrer", ha_ana=True), Mundo("morrer", ha_ana=True)
    for _ in passos(modelo):
        pass
    filas = real.carteiro.filas = Filas(trava=real.trava)
    for nome in entram:
        quem = getattr(real, nome)
        quem.formato = Texto()
        filas.admitir(quem)
        filas.entrar(quem, Tipo.CLIENTE if nome == "yuri" else Tipo.ATENDENTE, nome)
    filas.posicoes_mudaram, filas.user_states[real.yuri].posicao = True, 2
    real.historia.clear()
    fato(real)
    assert real.historia == modelo.historia


# --- O que ficava na caixa, e o que se perdia -----------------------------------------------------

LINHA = "x" * 1000


@casos("diz, chega", {"linha": ("oi", ["[Ana]: oi"]), "despedida": ("FIM:", [ANA_ENCERROU, FECHOU])})
def test_o_que_se_diz_durante_a_visita_do_carteiro_chega(servidor, monkeypatch, diz, chega):
    """Quem fala com quem o carteiro visita espera a vez e envia: nada fica na caixa, nem a despedida se perde."""
    yuri, ana = servidor.cliente("Yuri", "FILA:1"), servidor.conecta("Ana")
    ana.envia("ATENDENTE")
    ana.espera("NOME:")
    conexao, disputada, na_visita = servidor.aceitas[0], threading.Event(), threading.Event()
    enviar, passos = socket.socket.send, iter(["não cabe", "é a visita"])
    tomar = TravaVigiada.acquire

    def acquire(trava):
        if trava is conexao.vez and na_visita.is_set():
            disputada.set()
        tomar(trava)

    def send(sock, dados, *opcoes):
        passo = next(passos, None) if sock is conexao.sock else None
        if passo == "não cabe":
            raise BlockingIOError
        if passo == "é a visita":
            ana.espera("CONECTADO:Yuri")
            na_visita.set()
            ana.envia(diz)
            assert disputada.wait(PRAZO)
            if diz == "FIM:":
                yuri.para_de_escrever()  # e a thread dele acaba
        return enviar(sock, dados, *opcoes)

    monkeypatch.setattr(TravaVigiada, "acquire", acquire)
    monkeypatch.setattr(socket.socket, "send", send)
    ana.envia("Ana")
    yuri.espera("CONECTADO:Ana", *chega)


@pytest.mark.skipif(sys.platform != "linux", reason="só o Linux diz o que o outro já recebeu")
def test_quem_le_devagar_e_ainda_fala_recebe_tudo_e_o_fim(servidor, monkeypatch):
    """O prazo de fechar só corre depois que o outro recebeu tudo, ainda que o nosso sistema já o tenha aceitado."""
    monkeypatch.setattr(Carteiro, "DESPEDIDA", 0.05)
    yuri, ana = servidor.par(buffers=4096)
    ana.envia(*[LINHA] * 50, "FIM:")  # muito mais do que cabe do lado de Yuri
    ana.espera(VOCE_ENCERROU, "FILA:OK")
    yuri.envia("ainda falo")
    recusado = servidor.conecta()  # despede-se depois, recebe tudo, e já se passou o prazo quando é fechado
    recusado.envia("GERENTE")
    recusado.espera(TIPO_INVALIDO, FECHOU)
    servidor.espera_que_fechem(servidor.aceitas[2])
    yuri.envia("e falo")
    yuri.espera(*[f"[Ana]: {LINHA}"] * 50, ANA_ENCERROU, FECHOU)


@casos(
    "confirmados, caixa, corta_em",
    {"recebeu-tudo": (100, b"", 2.0), "no-nosso-sistema": (99, b"", 10.0), "na-caixa": (100, b"x", 10.0)},
)
def test_o_prazo_conta_do_ultimo_progresso(monkeypatch, confirmados, caixa, corta_em):
    """Quem recebeu tudo tem o prazo de fechar; quem ainda não, o de envio, que recomeça a cada byte recebido."""
    agora, conexao = [1000.0], Mundo("morrer").yuri
    carteiro = Carteiro(None, 10.0, None)
    monkeypatch.setattr("time.monotonic", lambda: agora[0])
    monkeypatch.setattr(Conexao, "confirmados", lambda conexao: recebidos)
    conexao.enviados, conexao.situacao, conexao.caixa = 100, DESPEDIDA, caixa
    cuidado = _Cuidado()
    with conexao.vez:
        for recebidos in 0, confirmados:
            carteiro._conferir_o_prazo(conexao, cuidado)
            agora[0] += corta_em
        carteiro._conferir_o_prazo(conexao, cuidado)
        assert conexao.situacao is DESPEDIDA
        agora[0] += 0.1
        carteiro._conferir_o_prazo(conexao, cuidado)
        assert conexao.situacao is CORTADA


@pytest.fixture
def espera(monkeypatch):
    """Quem não lê é notado logo; o acontecimento é quem lhe fala começar a esperar."""
    esperar, espera = Conexao.esperar_que_escoe, threading.Event()
    monkeypatch.setattr(Conexao, "BUFFER_DE_ENVIO", 4096)
    monkeypatch.setattr(Conexao, "esperar_que_escoe", lambda *args: (espera.set(), esperar(*args)))
    return espera


def test_o_teto_de_memoria_de_quem_nao_le(abrir_servidor, espera):
    """Linhas curtas e um nome comprido não enchem a memória: quem fala espera, até que a conversa acabe."""
    servidor = abrir_servidor(prazo_envio=100 * PRAZO)
    yuri = servidor.cliente("🙂" * 40, "FILA:1")
    yuri.envia(b"\n" * 60_000, "oi")  # o servidor passa a ler muito de cada vez
    yuri.espera(NA_FILA)
    ana = servidor.atendente("Ana", f"CONECTADO:{yuri.nome}", f"[{yuri.nome}]: oi", buffers=4096)
    yuri.espera("CONECTADO:Ana")
    tracemalloc.start()
    antes, _ = tracemalloc.get_traced_memory()
    yuri.envia(b"x\n" * 60_000)
    assert espera.wait(PRAZO)
    agora, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(servidor.aceitas[1].caixa) < 2 * MAXIMO_DO_FATO
    assert agora - antes < 2**20
    ana.envia("FIM:")
    yuri.espera(ANA_ENCERROU, FECHOU)
    yuri.fecha()
    servidor.espera_que_fechem(servidor.aceitas[0])


def test_a_caixa_que_muitos_enchem_sem_esperar_tem_teto(abrir_servidor, monkeypatch):
    """Quem não lê o que um cliente depois do outro deixou guardado é cortado já, por longo que seja o prazo."""
    monkeypatch.setattr(Conexao, "BUFFER_DE_ENVIO", 4096)
    monkeypatch.setattr(Conexao, "CAIXA_CHEIA", 120_000)
    servidor = abrir_servidor(prazo_envio=100 * PRAZO)
    beto, _ = servidor.par("Beto", "Ana", buffers=4096)
    caio, davi = servidor.cliente("Caio", "FILA:1"), servidor.cliente("Davi", "FILA:2")
    for cliente in caio, davi:
        cliente.envia(*["x" * 4000] * 21)
        cliente.espera(NA_FILA, LIMITE_NA_FILA)  # as vinte já estão guardadas
    beto.fecha()
    caio.espera("CONECTADO:Ana")
    caio.fecha()
    davi.le_ate("CONECTADO:Ana")
    davi.espera(ANA_DESCONECTOU, FECHOU)


# --- O lugar e os descritores ---------------------------------------------------------------------


def despedido(servidor):
    """Alguém que já leu a sua despedida, e não fecha: com lugar, se o havia, ou recusado por não haver."""
    alguem = servidor.conecta()
    alguem.envia("CLIENTE", "Passante", "FIM:")
    alguem.le_ate(FECHOU)


def test_o_teto_vale_para_os_descritores(abrir_servidor, monkeypatch):
    """Por mais que entrem e saiam sem fechar, só ficam abertas as que têm lugar e umas poucas de saída."""
    monkeypatch.setattr(Carteiro, "DESPEDIDA", 100 * PRAZO)
    monkeypatch.setattr(modulo.Servidor, "DE_SAIDA", 5)
    servidor = abrir_servidor(maximo=10)
    abertas = []
    for _ in range(200):
        despedido(servidor)
        abertas.append(len(servidor.conexoes))
    assert 10 < max(abertas) <= 10 + 5 + 1


@casos("erro", {"processo": errno.EMFILE, "sistema": errno.ENFILE, "memoria": errno.ENOMEM, "buffers": errno.ENOBUFS})
def test_sem_descritor_quem_se_despede_ha_mais_tempo_e_cortado(abrir_servidor, monkeypatch, espera, erro):
    """Cada vez que um descritor falta corta-se uma: das já sem thread, a mais antiga; depois, a que se despede."""
    monkeypatch.setattr(Carteiro, "DESPEDIDA", 100 * PRAZO)
    sabe, cuidar = queue.SimpleQueue(), Carteiro.cuidar_de
    monkeypatch.setattr(Carteiro, "cuidar_de", lambda *args: (cuidar(*args), sabe.put(args[1])))
    servidor = abrir_servidor(maximo=3, prazo_envio=100 * PRAZO)
    yuri, ana = servidor.par(buffers=4096)
    yuri.envia(*[LINHA] * 50)
    assert espera.wait(PRAZO)  # o carteiro também cuida de Ana, que não lê, mas não se despede
    for _ in range(5):
        despedido(servidor)  # o primeiro tem o terceiro lugar, e os outros já não acham nenhum
    while sabe.get(timeout=PRAZO) is not servidor.aceitas[2]:
        pass  # ele lê a despedida antes que a sua thread chame o carteiro
    aceitar, faltam, esperas = socket.socket.accept, [erro] * 3 + [errno.ECONNABORTED], []
    monkeypatch.setattr("time.sleep", esperas.append)
    monkeypatch.setattr(socket.socket, "accept", lambda sock: falhar(faltam.pop()) if faltam else aceitar(sock))
    despedido(servidor)
    com_lugar, *sem_thread = servidor.aceitas[2:]
    servidor.espera_que_fechem(*sem_thread[:3])
    assert esperas == [0.1] * 3, "sem esperar, o porteiro giraria"
    assert {com_lugar, *sem_thread[3:]} < {*servidor.conexoes.values()}
    faltam += [erro] * 4  # mais vezes que as despedidas
    despedido(servidor)
    servidor.espera_que_fechem(com_lugar, *sem_thread[3:])
    ana.espera(*[f"[Yuri]: {LINHA}"] * 50)


def falhar(numero):
    raise OSError(numero, os.strerror(numero))


# --- As threads que não morrem --------------------------------------------------------------------

SEM_PROC, SEM_THREAD = OSError(errno.EMFILE, "Too many open files"), RuntimeError("can't start new thread")
FALHAS = {
    "aceitar": (socket.socket, "accept"),
    "sem-proc": (os, "listdir", SEM_PROC),
    "nucleos": (maquina.Nucleos, "ajustar"),
    "thread": (threading.Thread, "start"),
    "thread-negada": (threading.Thread, "start", SEM_THREAD),
    "admitir": (Filas, "admitir"),
    "entrar": (Filas, "entrar"),
    "falar": (Filas, "repassar_chat"),
    "pedir": (Filas, "atender"),
    "publicar": (Carteiro, "_publicar"),
    "por-na-caixa": (Conexao, "por_na_caixa"),
    "escoar": (Conexao, "escoar"),
    "receber": (Conexao, "receber"),
    "descartar": (Conexao, "descartar"),
    "confirmados": (Conexao, "confirmados"),
    "visitar": (Carteiro, "_visitar"),
}


if not maquina.Nucleos(um_so=True)._todos:  # fora do Linux, ou sem a GIL, nada se faz, e nada falha
    del FALHAS["sem-proc"]


@pytest.mark.parametrize("dono, nome, erro", [(*f, MemoryError())[:3] for f in FALHAS.values()], ids=FALHAS.keys())
def test_nada_mata_o_porteiro_nem_o_carteiro(abrir_servidor, monkeypatch, erros_no_log, dono, nome, erro):
    """Falte onde faltar memória, thread ou descritor, as conexões se fecham, o log o diz, e um par novo conversa."""
    monkeypatch.setattr(maquina.Nucleos, "MULTIDAO", 0)
    monkeypatch.setattr(Carteiro, "DESPEDIDA", 0.1)
    monkeypatch.setattr("conftest.ServidorDeTeste.handle_error", modulo.Servidor.handle_error)
    certo, falhas, esperas = getattr(dono, nome), [erro], []
    monkeypatch.setattr("time.sleep", esperas.append)

    def errado(*args, **opcoes):
        if falhas and (dono not in (os, threading.Thread) or threading.current_thread().name == "porteiro"):
            raise falhas.pop()
        return certo(*args, **opcoes)

    monkeypatch.setattr(dono, nome, errado)
    servidor = abrir_servidor(um_nucleo=dono is os, maximo=3)
    for _ in range(2):
        with contextlib.suppress(ConnectionError):
            beto, caio = servidor.conecta(), servidor.conecta()
            for alguem in beto, caio:
                alguem.envia("CLIENTE", "Beto", "oi", "FILA:")
            beto.envia("FIM:")
            beto.le_ate(FECHOU)
        servidor.fecha_participantes()
        servidor.espera_que_fechem()
    despedido(servidor)  # aceita-se por ordem de chegada: depois deste, ninguém está esperando a porta
    servidor.fecha_participantes()
    servidor.espera_que_fechem()
    yuri, ana = servidor.par()
    yuri.envia("oi")
    ana.espera("[Yuri]: oi")
    assert not falhas and servidor.porteiro.is_alive() and servidor.carteiro.is_alive()
    assert esperas == [0.1] * (nome == "accept"), "sem esperar, o porteiro giraria"
    frase = r"Falha (do porteiro|do carteiro|ao atender \(.+\)): MemoryError\(\)"
    assert erros_no_log and re.fullmatch(frase, erros_no_log.pop()) or nome in ("listdir", "start")


# --- A conexão, sem rede --------------------------------------------------------------------------


@pytest.fixture
def relogio(monkeypatch):
    """O relógio da conexão, que só anda quando ela espera; `relogio.esperas` são os segundos de cada vez."""
    relogio = Mock(agora=1000.0, esperas=[], acontece=lambda: False)

    def esperar(_: socket.socket, segundos: float) -> bool:
        relogio.esperas.append(round(segundos, 3))
        relogio.agora += segundos
        assert len(relogio.esperas) < 100, "espera sem fim"
        return relogio.acontece()

    monkeypatch.setattr("time.monotonic", lambda: relogio.agora)
    for nome in "esperar_leitura", "esperar_escrita", "esperar_fim":
        monkeypatch.setattr(maquina, nome, esperar)
    return relogio


def nova(**metodos) -> Conexao:
    """Uma conexão com um socket de mentira."""
    return Conexao(Mock(**metodos), Mock())


def cortada(conexao: Conexao) -> bool:
    with conexao.vez:
        conexao.cortar()
    return False


def test_le_se_mais_de_cada_vez_de_quem_manda_muito(monkeypatch):
    """A leitura que vem cheia aumenta a seguinte, até um teto; a que não vem, não."""
    monkeypatch.setattr(maquina, "SEM_ESPERA", 64)
    chegam = 100, 448, 1792, 7168, 28672, 65536, 65536, 100
    conexao = nova(recv=Mock(side_effect=[b"x" * quantos for quantos in chegam]))
    assert [len(conexao.receber()) for _ in chegam] == [*chegam]
    assert conexao.sock.recv.mock_calls == [call(quantos) for quantos in (448, *chegam[1:-1], 65536)]


def test_o_prazo_de_uma_leitura(relogio):
    """Espera-se em pedaços, até o prazo; de quem já se despediu, até que feche ou seja cortado."""
    conexao = nova(recv=Mock(return_value=b""))
    with pytest.raises(TimeoutError):
        conexao.receber(0.5)
    assert relogio.esperas == [0.2, 0.2, 0.1] and not conexao.sock.recv.called
    with conexao.vez:
        conexao.entregar((FIM_DE_FLUXO,))
    relogio.acontece = lambda: len(relogio.esperas) == 9 and cortada(conexao)
    assert conexao.receber(0.5) == b"" and relogio.esperas[3:] == [0.2] * 6


def test_a_leitura_onde_o_socket_nao_bloqueia(relogio, monkeypatch):
    """Sem `MSG_DONTWAIT` espera-se antes de ler, e de novo se outro tinha lido; o erro é o fim."""
    monkeypatch.setattr(maquina, "SEM_ESPERA", 0)
    relogio.acontece = lambda: len(relogio.esperas) > 1
    conexao = nova(recv=Mock(side_effect=[BlockingIOError, b"oi", OSError]))
    assert [conexao.receber(), conexao.receber()] == [b"oi", b""] and relogio.esperas == [0.2] * 4


def test_a_espera_sem_ler(relogio):
    """Espera-se em pedaços o tempo pedido, se a conexão não acaba antes: do outro lado, ou deste."""
    conexao = nova()
    assert conexao.esperar(0.5) is True and relogio.esperas == [0.2, 0.2, 0.1]
    relogio.acontece = lambda: True
    assert conexao.esperar(0.5) is False and relogio.esperas[3:] == [0.2]
    relogio.acontece = lambda: cortada(conexao)
    assert conexao.esperar(0.5) is conexao.esperar(0.5) is False and relogio.esperas[4:] == [0.2]


def test_quem_fala_espera_sem_nada_na_mao(relogio):
    """A cada pedaço da espera tenta-se o envio, até que a caixa esvazie ou que a conexão de quem fala acabe."""
    destino, quem_fala = nova(send=lambda dados, _: 2), nova()
    relogio.acontece = lambda: destino.vez.locked() and pytest.fail("esperou com a vez na mão")
    destino.caixa = b"12345678"
    destino.esperar_que_escoe(quem_fala)
    assert (destino.caixa, destino.enviados, relogio.esperas) == (b"", 8, [0.2] * 4)
    destino.caixa = b"12345678"
    cortada(quem_fala)
    destino.esperar_que_escoe(quem_fala)
    assert destino.caixa == b"12345678"


@casos(
    "chega, fechou, vezes",
    {
        "nada": ([BlockingIOError], False, 1),
        "o-fim": ([b"x", b""], True, 2),
        "um-erro": ([b"x", ConnectionResetError], True, 2),
        "sem-parar": ([b"x"] * 100, False, 8),
    },
)
def test_descartar(chega, fechou, vezes):
    """Joga-se fora um pouco do que chegou, sem esperar, e diz-se se o outro já fechou."""
    conexao = nova(recv=Mock(side_effect=chega))
    assert conexao.descartar() is fechou
    assert conexao.sock.recv.mock_calls == [call(65536, maquina.SEM_ESPERA)] * vezes


def test_o_que_o_outro_confirmou(monkeypatch):
    """É o que o nosso sistema aceitou, menos o que ele ainda tem de entregar."""
    monkeypatch.setattr(maquina, "por_confirmar", lambda sock: 3 * (sock is conexao.sock))
    conexao = nova()
    conexao.enviados = 10
    assert conexao.confirmados() == 7


def test_corta_se_e_fecha_se_uma_vez_so():
    """Depois do corte nada se envia nem se corta de novo, ainda que o outro já não exista; fechada, não se corta."""
    conexao = nova(shutdown=Mock(side_effect=OSError))
    for _ in range(2):
        cortada(conexao)
        assert (conexao.situacao, conexao.caixa) == (CORTADA, b"")
        with conexao.vez:
            conexao.entregar((Fim(), FIM_DE_FLUXO))
    assert conexao.sock.shutdown.mock_calls == [call(socket.SHUT_RDWR)] and not conexao.sock.send.called
    with conexao.vez:
        conexao.fechar()
    cortada(conexao)
    assert conexao.situacao is FECHADA and conexao.sock.close.called


# --- O carteiro, sem thread -----------------------------------------------------------------------


def test_o_carteiro_faz_a_ronda_e_publica_a_seu_tempo(monkeypatch):
    """Entre um pedido e outro, cada coisa no seu intervalo, por mais pedidos que cheguem; um deles o para."""
    carteiro, relogio, feito = Carteiro(None, 10.0, None), [], []
    instantes = [100 + passo / 8 for passo in range(1, 9)]
    monkeypatch.setattr("time.monotonic", lambda: relogio.append(instantes.pop(0)) or relogio[-1])
    monkeypatch.setattr(Carteiro, "POSICOES_A_CADA", 0.5)
    monkeypatch.setattr(Carteiro, "INSISTIR_A_CADA", 0.25)
    monkeypatch.setattr(Carteiro, "_publicar", lambda _: feito.append((relogio[-1], "publica")))
    monkeypatch.setattr(Carteiro, "_visitar", lambda _, conexao: feito.append((relogio[-1], conexao)))
    carteiro._cuidados["yuri"] = _Cuidado()
    carteiro._proximo_pedido = Mock(side_effect=[(Mock(),)] * 7 + [(carteiro._parar,)])
    carteiro.run()
    assert not instantes and feito == [
        (100.125, "publica"),
        (100.125, "yuri"),
        (100.375, "yuri"),
        (100.625, "publica"),
        (100.625, "yuri"),
        (100.875, "yuri"),
    ]


def test_o_carteiro_nao_espera_por_um_pedido_alem_da_ronda():
    """Sem pedidos, ele acorda a tempo da próxima ronda se cuida de alguém, e senão, da próxima publicação."""
    carteiro = Carteiro(None, 10.0, None)
    carteiro._pedidos = Mock(get=Mock(side_effect=queue.Empty))
    for cuidados, espera in ({}, Carteiro.POSICOES_A_CADA), ({"yuri": _Cuidado()}, Carteiro.INSISTIR_A_CADA):
        carteiro._cuidados = cuidados
        carteiro._cumprir(*carteiro._proximo_pedido())
        carteiro._pedidos.get.assert_called_with(timeout=espera)


def test_o_carteiro_para(caplog):
    """Espera-se que ele termine, e mesmo então uma falha só vai para o log; a thread dele não prende o programa."""
    carteiro = Carteiro(None, 10.0, None)
    carteiro.join, carteiro._publicar = Mock(), Mock(side_effect=[MemoryError, pytest.fail.Exception("não parou")])
    carteiro.parar()
    assert carteiro.join.called and (carteiro.name, carteiro.daemon) == ("carteiro", True)
    carteiro.run()
    assert caplog.messages == ["Falha do carteiro: MemoryError()"] and caplog.records[0].marca == "ERRO"
