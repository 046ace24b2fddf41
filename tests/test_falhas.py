"""O que dá errado: quem não lê, quem some, quem mente, e o sistema que não tem mais o que dar.

As versões rápidas rodam sempre; as longas, com `pytest -m demorado`.
"""

import builtins
import collections
import contextlib
import errno
import itertools
import logging
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from participante import FECHOU, PRAZO, Anfitriao, Participante

import servidor as modulo

ESGOTADO = "FIM:Tempo de identificação esgotado."
LOTADO = "FIM:Servidor lotado; tente mais tarde."
SAIU_DA_FILA = "FIM:Você saiu da fila."
VOCE_ENCERROU = "FIM:Atendimento encerrado. Você encerrou a conversa."
LONGA_DEMAIS = "AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada."
NA_FILA = "AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente."
LIMITE_NA_FILA = "AVISO:Limite de mensagens na espera atingido; a mensagem não foi guardada."
SEM_CLIENTE = "AVISO:Nenhum cliente conectado; a mensagem não foi enviada."
YURI_DESCONECTOU = "FIM:Atendimento encerrado. O cliente Yuri desconectou."
ANA_DESCONECTOU = "FIM:Atendimento encerrado. O atendente Ana desconectou."
ANA_ENCERROU = "FIM:Atendimento encerrado. O atendente Ana encerrou a conversa."
DESLIGADO = "FIM:Servidor encerrado."

so_no_posix = pytest.mark.skipif(os.name != "posix", reason="usa sinais e limites do POSIX")


def demorado(*valores, id):
    """Um caso de `parametrize` que só roda com `-m demorado`."""
    return pytest.param(*valores, id=id, marks=pytest.mark.demorado)


def conferir_conversa(cliente: Participante, atendente: Participante) -> None:
    """Os dois se ouvem: é assim que um par mostra que nada o atrapalhou."""
    cliente.envia("ping")
    atendente.espera(f"[{cliente.nome}]: ping")
    atendente.envia("pong")
    cliente.espera(f"[{atendente.nome}]: pong")


def sem_controles(linha: str) -> bool:
    """Diz se na linha não há nada que mexa com o terminal de quem lê."""
    bidirecionais = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    return not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in bidirecionais for c in linha)


@pytest.fixture
def abrir_estreito(abrir_servidor, monkeypatch):
    """Abre servidores com buffers de poucos KiB no kernel: quem não lê é notado logo."""
    monkeypatch.setattr(modulo, "BUFFER_DE_ENVIO", 4096)

    def abrir(**opcoes):
        servidor = abrir_servidor(**opcoes)
        servidor.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # as conexões o herdam
        return servidor

    return abrir


# --- Quem não lê, e quem lê devagar ---------------------------------------------------------------

BLOCO = b"".join(b"%02d %s\n" % (i, b"x" * 997) for i in range(64))


def inundar(quem: Participante, enquanto=lambda: None) -> None:
    """Escreve sem parar até o servidor ter algo a dizer; `enquanto` roda a cada volta."""
    limite = time.monotonic() + PRAZO
    quem.sock.setblocking(False)
    while not quem.tem_o_que_ler(espera=0.01):
        assert time.monotonic() < limite, "quem não lê nunca foi desconectado"
        with contextlib.suppress(BlockingIOError):
            while True:
                quem.sock.send(BLOCO)
        enquanto()
    quem.sock.settimeout(PRAZO)


def entupir(falante: Participante, bloco: bytes = BLOCO) -> int:
    """Escreve até que nada mais caiba entre quem fala e quem não lê; devolve quantos bytes couberam."""
    couberam = 0
    falante.sock.setblocking(False)
    while couberam < 2**22 and select.select([], [falante.sock], [], 0.1)[1]:
        with contextlib.suppress(BlockingIOError):
            couberam += falante.sock.send(bloco[couberam % len(bloco) :])  # de onde parou
    falante.sock.settimeout(PRAZO)
    return couberam


@pytest.mark.parametrize("mudo", ["cliente", "atendente"])
def test_quem_para_de_ler_e_desconectado(abrir_estreito, mudo):
    """O par de quem não lê recebe o `FIM:` depois do prazo de envio; o outro par nem percebe."""
    servidor = abrir_estreito(prazo_envio=0.3)
    yuri, ana = servidor.par(buffers=4096)
    outros = servidor.par("Beto", "Bia")
    falante, fim = (ana, YURI_DESCONECTOU) if mudo == "cliente" else (yuri, ANA_DESCONECTOU)
    inundar(falante, enquanto=lambda: conferir_conversa(*outros))
    falante.espera(fim)
    if mudo == "cliente":
        ana.espera("FILA:OK")
        ana.envia("\n", "FIM:")  # fecha a linha que ficou pela metade
        assert set(ana.le_ate(SAIU_DA_FILA)) <= {SEM_CLIENTE}
    else:
        yuri.espera(FECHOU)
    conferir_conversa(*outros)


def test_o_mudo_a_quem_ninguem_fala_tambem_e_desconectado(abrir_estreito):
    """As linhas que o mudo recebe por causa de um terceiro também têm prazo."""
    servidor = abrir_estreito(prazo_envio=0.3)
    beto, ana = servidor.par("Beto", "Ana", buffers=4096)
    yuri = servidor.cliente("Yuri", "FILA:1")
    yuri.envia(*["x" * 4000] * 21)
    yuri.espera(NA_FILA, LIMITE_NA_FILA)  # as vinte já estão guardadas
    beto.fecha()  # Ana passa a conversar com Yuri, e a ter o que ler; Yuri não diz mais nada
    yuri.espera("CONECTADO:Ana", ANA_DESCONECTOU, FECHOU)
    servidor.par("Caio", "Bia")


def test_quem_nao_le_as_proprias_respostas_segura_o_par(abrir_estreito):
    """Enquanto um espera para se ouvir, o que o outro lhe diz não se acumula no servidor, nem se perde."""
    yuri, ana = abrir_estreito().par(buffers=4096)
    entupir(yuri, b"x" * 5000 + b"\n")  # cada linha longa demais lhe vale um aviso, que não lê
    assert entupir(ana) < 2**20, "ninguém segurou quem escreve"
    escritora = threading.Thread(target=ana.envia, args=("\n", "acabou"))
    escritora.start()
    lidas = yuri.le_ate("[Ana]: acabou")
    escritora.join(PRAZO)
    *de_ana, _ = (linha for linha in lidas if linha != LONGA_DEMAIS)  # a última ficou pela metade
    assert [linha[:9] for linha in de_ana] == [f"[Ana]: {i % 64:02}" for i in range(len(de_ana))]


def test_quem_nao_le_os_proprios_avisos_e_desconectado(abrir_estreito):
    """Falar sem par e sem ler as respostas não prende ninguém além de quem o faz."""
    servidor = abrir_estreito(prazo_envio=0.3)
    yuri = servidor.cliente("Yuri", "FILA:1", buffers=4096)
    with pytest.raises((ConnectionError, TimeoutError)):
        for _ in range(10_000):  # muito mais do que cabe nos buffers dos dois lados
            yuri.envia("oi\n" * 1000)
    yuri.fecha()
    servidor.par("Beto", "Bia")


def test_o_fim_de_quem_nao_le_nao_prende_o_par(abrir_estreito):
    """O atendente encerra a conversa com um mudo e vai para a fila na hora, com o prazo longe."""
    servidor = abrir_estreito(prazo_envio=60)
    yuri, ana = servidor.par(buffers=4096)
    ana.envia("x" * 4000)
    ana.envia("FIM:")
    ana.espera(VOCE_ENCERROU, "FILA:OK")
    beto = servidor.cliente("Beto", "CONECTADO:Ana")
    ana.espera("CONECTADO:Beto")
    conferir_conversa(beto, ana)
    yuri.espera("[Ana]: " + "x" * 4000, ANA_ENCERROU, FECHOU)


def test_quem_le_devagar_recebe_tudo_e_segura_quem_escreve(abrir_estreito):
    """Com 4 KiB de cada vez nada se perde, e o servidor não guarda o que ainda não coube."""
    yuri, ana = abrir_estreito().par(buffers=4096)
    total, folga = 3000, 600  # linhas de 1 KB: a folga é bem mais do que os buffers e a caixa de saída
    enviadas = 0

    def escrever():
        nonlocal enviadas
        for i in range(total):
            ana.envia(f"{i:04} {'x' * 1000}")
            enviadas += 1

    escritora = threading.Thread(target=escrever)
    escritora.start()
    for lidas in range(total):
        assert enviadas - lidas < folga, "ninguém segurou quem escreve"
        yuri.espera(f"[Ana]: {lidas:04} {'x' * 1000}")
    escritora.join(PRAZO)


# --- Muita gente ----------------------------------------------------------------------------------


def test_mudos_e_pingados_nao_atrapalham_quem_conversa(abrir_servidor):
    """Duzentas conexões que não se identificam são fechadas com `FIM:` enquanto um par conversa."""
    servidor = abrir_servidor()
    bons = servidor.par()
    servidor.prazo_identificacao = 0.5  # segundos; dos que chegam a partir de agora
    pendentes = {servidor.conecta(): i % 2 for i in range(200)}  # metade pinga, metade é muda
    limite = time.monotonic() + PRAZO
    while pendentes:
        assert time.monotonic() < limite, f"{len(pendentes)} continuam conectados"
        conferir_conversa(*bons)
        prontos = set(select.select([alguem.sock for alguem in pendentes], [], [], 0.05)[0])
        for alguem, pinga in list(pendentes.items()):
            if alguem.sock in prontos:
                alguem.espera(ESGOTADO, FECHOU)
                del pendentes[alguem]
            elif pinga:
                alguem.envia(b"C")


def test_mil_conexoes_juntas_sao_todas_atendidas(abrir_servidor):
    """Mil clientes chegam de uma vez, e cada um tem o seu lugar na fila."""
    servidor = abrir_servidor(maximo=1000)
    modulo.permitir_descritores(2200)
    clientes = [servidor.conecta(f"C{i}") for i in range(1000)]
    for cliente in clientes:
        cliente.envia("CLIENTE", cliente.nome)
    posicoes = set()
    for cliente in clientes:
        cliente.espera("NOME:")
        posicoes.add(cliente.linha())
    assert posicoes == {f"FILA:{i}" for i in range(1, 1001)}
    servidor.conecta().espera(LOTADO, FECHOU)


def test_todos_chegam_juntos_e_todos_formam_par(servidor):
    """Trinta clientes e trinta atendentes ao mesmo tempo: trinta pares, que se ouvem."""
    largada = threading.Barrier(60)

    def chegar(tipo, nome):
        alguem = servidor.conecta(nome)
        alguem.envia(tipo)
        alguem.espera("NOME:")
        largada.wait(PRAZO)
        alguem.envia(nome)
        while (linha := alguem.linha()).startswith("FILA:"):
            pass
        return alguem, linha.removeprefix("CONECTADO:")

    with ThreadPoolExecutor(60) as threads:
        chegadas = [threads.submit(chegar, tipo, f"{tipo} {i}") for i in range(30) for tipo in ("CLIENTE", "ATENDENTE")]
    por_nome = {alguem.nome: (alguem, par) for alguem, par in (chegada.result() for chegada in chegadas)}
    for nome, (alguem, par) in por_nome.items():
        outro, par_do_outro = por_nome[par]
        assert par_do_outro == nome
        if nome.startswith("CLIENTE"):
            conferir_conversa(alguem, outro)


def test_a_fila_e_respeitada_com_os_atendentes_chegando_juntos(servidor):
    """Dez atendentes juntos levam exatamente os dez primeiros da fila."""
    clientes = [servidor.cliente(f"C{i}", f"FILA:{i}") for i in range(1, 16)]
    atendentes = [servidor.conecta(f"A{i}") for i in range(10)]
    for atendente in atendentes:
        atendente.envia("ATENDENTE", atendente.nome)
    chamados = set()
    for atendente in atendentes:
        atendente.espera("NOME:")
        chamados.add(atendente.linha())
    assert chamados == {f"CONECTADO:C{i}" for i in range(1, 11)}
    for posicao, cliente in enumerate(clientes[10:], start=1):
        cliente.le_ate(f"FILA:{posicao}")


def sem_dizer_nada(servidor):
    servidor.conecta().fecha()


def meio_tipo(servidor):
    alguem = servidor.conecta()
    alguem.envia(b"CLI")
    alguem.fecha()


def tipo_invalido(servidor):
    alguem = servidor.conecta()
    alguem.envia("GERENTE")
    alguem.le_ate(FECHOU)
    alguem.fecha()


def lixo_e_rst(servidor):
    alguem = servidor.conecta()
    alguem.envia(os.urandom(3000))
    alguem.some()


def cliente_que_desiste(servidor):
    cliente = servidor.conecta()
    cliente.envia("CLIENTE", "Passante", "oi", "FIM:")
    cliente.le_ate(FECHOU)
    cliente.fecha()


def atendente_que_some(servidor):
    atendente = servidor.conecta()
    atendente.envia("ATENDENTE", "Passante")
    atendente.some()


def meia_conexao(servidor):
    cliente = servidor.conecta()
    cliente.envia("CLIENTE", "Passante")
    cliente.para_de_escrever()
    cliente.le_ate(FECHOU)
    cliente.fecha()


@pytest.mark.parametrize("quantas", [pytest.param(2000, id="duas-mil"), demorado(20_000, id="vinte-mil")])
def test_conexoes_curtas_nao_deixam_nada_para_tras(servidor, quantas):
    """Depois de conexões curtas de todo tipo, as threads e os descritores são os do começo."""
    tipos = sem_dizer_nada, meio_tipo, tipo_invalido, lixo_e_rst, cliente_que_desiste, atendente_que_some, meia_conexao
    threads, descritores = set(threading.enumerate()), Path("/proc/self/fd")
    abertos = len(list(descritores.iterdir())) if descritores.exists() else 0
    for conexao in itertools.islice(itertools.cycle(tipos), quantas):
        conexao(servidor)
    ana = servidor.atendente("Ana")
    ana.le_ate("FILA:OK")  # a porta é uma fila: atendida a Ana, todos antes dela foram aceitos
    ana.fecha()
    servidor.espera_que_fechem()
    for thread in set(threading.enumerate()) - threads:
        thread.join(PRAZO)
    assert set(threading.enumerate()) <= threads
    if descritores.exists():
        assert len(list(descritores.iterdir())) == abertos
    servidor.par("Yuri", "Ana")


# --- Quem some na pior hora -----------------------------------------------------------------------


@pytest.mark.parametrize("vezes", [pytest.param(150, id="rapido"), demorado(10_000, id="dez-mil-vezes")])
def test_o_cliente_some_na_hora_de_formar_o_par(servidor, vezes):
    """Por mais que caiam no instante do `CONECTADO:`, a atendente acaba livre e atende o próximo."""
    ana = servidor.atendente("Ana", "FILA:OK")
    with ThreadPoolExecutor(1) as threads:
        lidas = threads.submit(ana.le_ate, "CONECTADO:Último")  # enquanto caem: quem não lê é desconectado
        for i in range(vezes):
            cliente = servidor.conecta()
            cliente.envia("CLIENTE", f"C{i}", *["oi"] * (i % 3))
            cliente.some()
        ultimo = servidor.cliente("Último")
        ultimo.le_ate("CONECTADO:Ana")
    conversa = None
    for linha in lidas.result():
        if conversa is None and linha.startswith("CONECTADO:"):
            conversa = linha.removeprefix("CONECTADO:")
        elif conversa is not None and linha == f"FIM:Atendimento encerrado. O cliente {conversa} desconectou.":
            conversa = None
        else:
            assert linha == (f"[{conversa}]: oi" if conversa else "FILA:OK")
    assert conversa is None
    conferir_conversa(ultimo, ana)


@pytest.mark.parametrize("vezes", [pytest.param(100, id="rapido"), demorado(5_000, id="cinco-mil-vezes")])
def test_o_atendente_some_na_hora_de_formar_o_par(servidor, vezes):
    """O cliente que pegou um atendente caído recebe o `FIM:`; o que não pegou ainda pode desistir."""
    for _ in range(vezes):
        cliente, atendente = servidor.cliente("Yuri"), servidor.conecta()
        atendente.envia("ATENDENTE", "Ana")
        atendente.some()
        cliente.envia("FIM:")
        linhas = cliente.le_ate(FECHOU)
        if linhas[0] == "FILA:1":
            del linhas[0]
        assert linhas in ([SAIU_DA_FILA], ["CONECTADO:Ana", ANA_DESCONECTOU], ["CONECTADO:Ana", VOCE_ENCERROU])
        cliente.fecha()


# --- Bytes malformados ----------------------------------------------------------------------------

MALFORMADAS = {
    "nul": b"\x00",
    "so-controles": bytes(range(1, 10)) + bytes(range(11, 32)),
    "del": b"a\x7fb",
    "c1-em-latin-1": bytes(range(0x80, 0xA0)),
    "c1-em-utf-8": bytes(itertools.chain.from_iterable((0xC2, b) for b in range(0x80, 0xA0))),
    "todos-os-bytes": bytes(range(10)) + bytes(range(11, 256)),
    "continuacao-solta": b"\x80\xbf",
    "inicio-de-dois": b"\xc3",
    "inicio-de-tres": b"\xe2\x82",
    "inicio-de-quatro": b"\xf0\x9f\x98",
    "sobrelonga-nul": b"\xc0\x80",
    "sobrelonga-barra": b"\xe0\x80\xaf",
    "sobrelonga-quebra": b"\xc0\x8a",
    "sobrelonga-esc": b"\xc0\x9b[2J",
    "substituto-alto": b"\xed\xa0\x80",
    "substituto-baixo": b"\xed\xb0\x80",
    "par-de-substitutos": b"\xed\xa0\xbd\xed\xb8\x80",
    "alem-do-unicode": b"\xf4\x90\x80\x80",
    "cinco-bytes": b"\xf8\x88\x80\x80\x80",
    "fe-ff": b"\xfe\xff",
    "utf-16": "oi\x00".encode("utf-16"),
    "utf-32": "oi".encode("utf-32"),
    "bom": b"\xef\xbb\xbfoi",
    "nao-caracteres": "\ufffe\uffff\U0010ffff".encode(),
    "ansi-limpar": b"\x1b[2J\x1b[H",
    "ansi-cor": b"\x1b[5;31;40mperigo",
    "ansi-titulo": b"\x1b]0;dono\x07",
    "ansi-hiperlink": b"\x1b]8;;http://x\x1b\\clique\x1b]8;;\x1b\\",
    "ansi-resposta": b"\x1b[6n\x1b[c\x05",
    "csi-c1": b"\x9b31m\xc2\x9b31m",
    "cr-sobrescreve": b"[Yuri]: oi\r[Ana]: mentira",
    "retrocessos": b"senha\x08\x08\x08\x08\x08",
    "tabulacoes": b"\t\x0b\x0c",
    "separadores": "a\u2028b\u2029c\x85d".encode(),
    "bidirecionais": "\u202eotxet\u202c \u2066x\u2069".encode(),
    "telnet-iac": b"\xff\xf4\xff\xfd\x06\xff\xfb\x1f",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "prefixo-sujo": b"[Yu\x00ri]: oi\x1b",
    "comando-sujo": b"CONECTADO:\x1b[31mAna",
    "fim-quase": b"FIM\x20:\xff",
    "formatacao": b"%s%n{0}{eu.__class__}\\x1b",
}


@pytest.mark.parametrize("bytes_malformados", MALFORMADAS.values(), ids=MALFORMADAS.keys())
def test_nenhum_controle_chega_ao_par(servidor, bytes_malformados):
    """Venha o que vier, o par só recebe linhas de chat em UTF-8, sem controles e assinadas."""
    yuri, ana = servidor.par()
    yuri.envia(bytes_malformados + b"\n", bytes_malformados * 5 + b"\r\n", "sentinela")
    for linha in ana.le_ate("[Yuri]: sentinela"):
        assert linha.startswith("[Yuri]: ") and sem_controles(linha)
    conferir_conversa(yuri, ana)


@pytest.mark.demorado
def test_cem_mil_linhas_malformadas(servidor):
    """O mesmo, em cem mil linhas de todos os tipos misturados."""
    yuri, ana = servidor.par()
    tipos = b"".join(malformada + b"\n" for malformada in MALFORMADAS.values())
    with ThreadPoolExecutor(2) as threads:
        do_par = threads.submit(ana.le_ate, "[Yuri]: sentinela")
        avisos = threads.submit(yuri.le_ate, "[Ana]: sentinela")
        for _ in range(100_000 // len(MALFORMADAS) + 1):
            yuri.envia(tipos)
        yuri.envia("sentinela")
        assert all(linha.startswith("[Yuri]: ") and sem_controles(linha) for linha in do_par.result())
        ana.envia("sentinela")
        assert set(avisos.result()) <= {LONGA_DEMAIS}


def test_a_identificacao_malformada_nao_quebra_o_servidor(servidor):
    """Como tipo ou como nome, os mesmos bytes dão um `FIM:` ou um nome limpo, e o servidor segue."""
    for malformada in MALFORMADAS.values():
        alguem = servidor.conecta(f"quem disse {malformada!r}")
        alguem.envia(malformada + b"\n")
        alguem.espera("FIM:Tipo inválido: envie CLIENTE ou ATENDENTE.", FECHOU)
        alguem = servidor.conecta(f"quem disse ser {malformada!r}")
        alguem.envia(b"CLIENTE\n" + malformada + b"\n")
        alguem.espera("NOME:")
        if (linha := alguem.linha()) == "FILA:1":
            ana = servidor.atendente("Ana")
            linha = ana.linha()
            assert linha.startswith("CONECTADO:") and sem_controles(linha)
            ana.envia("FIM:", "FIM:")
            ana.le_ate(FECHOU)
        else:
            assert linha == "FIM:Nome inválido: use de 1 a 40 caracteres, sem colchetes."


# --- O sistema sem recursos -----------------------------------------------------------------------


def test_sem_thread_para_a_conexao(servidor, monkeypatch):
    """Quem chega quando o sistema não dá mais threads é recusado; os outros não percebem."""
    par = servidor.par()
    comecar = threading.Thread.start

    def falhar_no_porteiro(thread):
        if threading.current_thread() is servidor.porteiro:
            raise RuntimeError("can't start new thread")
        comecar(thread)

    with monkeypatch.context() as sem_threads:
        sem_threads.setattr(threading.Thread, "start", falhar_no_porteiro)
        recusado = servidor.conecta()
        recusado.envia("CLIENTE", "Beto", b"lixo" * 50_000)
        recusado.espera(LOTADO, FECHOU)
        conferir_conversa(*par)
    servidor.cliente("Beto", "FILA:1")


@pytest.mark.parametrize("erro", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=["processo", "sistema", "memoria"])
def test_sem_descritor_para_a_conexao(servidor, monkeypatch, erro):
    """Enquanto `accept` falha o porteiro tenta de novo com calma; quem esperou é atendido."""
    par = servidor.par()
    aceitar, tentativas = socket.socket.accept, []

    def falhar_tres_vezes(sock):
        tentativas.append(time.monotonic())
        if len(tentativas) <= 3:
            raise OSError(erro, os.strerror(erro))
        return aceitar(sock)

    monkeypatch.setattr(socket.socket, "accept", falhar_tres_vezes)
    beto = servidor.conecta("Beto")
    conferir_conversa(*par)
    beto.envia("CLIENTE", "Beto")
    beto.espera("NOME:", "FILA:1")
    assert len(tentativas) == 4
    assert all(depois - antes > 0.05 for antes, depois in zip(tentativas, tentativas[1:]))


# --- A trava --------------------------------------------------------------------------------------


class TravaVigiada:
    """Uma trava que sabe quem a tem e desde quando, e anota o que se faz de errado com ela."""

    def __init__(self) -> None:
        self._trava = threading.Lock()
        self.dona: int | None = None  # a identidade da thread que a tem
        self.desde = self.maior_tempo = 0.0  # segundos
        self.faltas: list[str] = []

    def acquire(self) -> None:
        if self.dona == threading.get_ident():
            self.faltas.append("segunda aquisição")
            raise RuntimeError("a trava não é reentrante")
        self._trava.acquire()
        self.dona, self.desde = threading.get_ident(), time.perf_counter()

    def release(self) -> None:
        self.maior_tempo = max(self.maior_tempo, time.perf_counter() - self.desde)
        self.dona = None
        self._trava.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_) -> None:
        self.release()

    def vigiada(self, funcao):
        """A mesma função, que vira uma falta se quem a chama tem a trava."""

        def vigia(*args, **kwargs):
            if self.dona == threading.get_ident():
                self.faltas.append(f"{funcao.__qualname__} debaixo da trava")
            return funcao(*args, **kwargs)

        return vigia


def test_debaixo_da_trava_so_se_mexe_em_memoria(abrir_servidor, monkeypatch, caplog):
    """Numa conversa com de tudo, quem tem a trava não envia, não lê, não imprime e não a pede de novo."""
    caplog.set_level(logging.INFO, "fila")
    servidor = abrir_servidor(prazo_identificacao=0.1)
    trava = servidor.filas.trava = TravaVigiada()
    proibidas = [(socket.socket, nome) for nome in ("send", "sendall", "recv", "shutdown", "close", "setsockopt")]
    proibidas += [(builtins, "print"), (builtins, "input"), (logging.Logger, "handle"), (time, "sleep")]
    for dono, nome in proibidas:
        monkeypatch.setattr(dono, nome, trava.vigiada(getattr(dono, nome)))

    def vida(i):
        cliente = servidor.conecta(f"C{i}")
        cliente.envia("CLIENTE", f"C{i}", *["oi"] * (i % 23), b"x" * 5000 + b"\n")
        cliente.espera("NOME:")
        if i % 3:
            cliente.envia("FIM:")
            cliente.le_ate(FECHOU)
        cliente.some() if i % 2 else cliente.fecha()

    servidor.conecta().espera(ESGOTADO, FECHOU)
    servidor.prazo_identificacao = PRAZO
    ana, bia = servidor.atendente("Ana", "FILA:OK"), servidor.atendente("Bia", "FILA:OK")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(vida, range(120)))
    bia.some()
    ana.envia("FIM:")
    for alguem in servidor.participantes:
        alguem.fecha()
    servidor.espera_que_fechem()
    servidor.encerrar()
    assert caplog.records and trava.faltas == []
    assert trava.maior_tempo < 0.25


# --- Muitas mensagens -----------------------------------------------------------------------------


@pytest.mark.parametrize("total", [pytest.param(20_000, id="vinte-mil"), demorado(1_000_000, id="um-milhao")])
def test_mensagens_numeradas(servidor, total):
    """Quatro pares trocam mensagens nos dois sentidos, em blocos de todo tamanho: chegam todas, na ordem."""
    pares = [servidor.par(f"C{i}", f"A{i}") for i in range(4)]
    sentidos = pares + [(atendente, cliente) for cliente, atendente in pares]
    cada = total // len(sentidos)

    def falar(de, para):
        sorte, i = random.Random(de.nome), 0
        while i < cada:
            ate = min(cada, i + sorte.choice((1, 1, 2, 10, 100)))
            de.envia("".join(f"{n}\n" for n in range(i, ate)).encode())
            i = ate

    def ouvir(de, para):
        for n in range(cada):
            para.espera(f"[{de.nome}]: {n}")

    with ThreadPoolExecutor(2 * len(sentidos)) as threads:
        tarefas = [threads.submit(acao, *sentido) for acao, sentido in itertools.product((falar, ouvir), sentidos)]
    for tarefa in tarefas:
        tarefa.result()


# --- Caos -----------------------------------------------------------------------------------------

# O que cada tipo pode receber em cada estado, e aonde isso o leva. Um atendente recebe `FIM:` e já
# volta para a fila ("livre" é entre o FIM: e o FILA:OK); um cliente recebe `FIM:` e acaba.
AUTOMATO = {
    "CLIENTE": {
        "entrando": {r"NOME:": "entrando", r"FILA:\d+": "fila", r"CONECTADO:.+": "conversa", r"FIM:.+": "fim"},
        "fila": {
            r"FILA:\d+": "fila",
            r"AVISO:.+": "fila",
            r"CONECTADO:A.+": "conversa",
            r"FIM:Você saiu da fila\.": "fim",
        },
        "conversa": {r"\[A\d+\.\d+\]: .*": "conversa", r"AVISO:Mensagem longa.+": "conversa", r"FIM:Atend.+": "fim"},
        "fim": {},
    },
    "ATENDENTE": {
        "entrando": {r"NOME:": "entrando", r"FILA:OK": "fila", r"CONECTADO:.+": "conversa", r"FIM:.+": "fim"},
        "fila": {
            r"AVISO:.+": "fila",
            r"CONECTADO:C.+": "conversa",
            r"FIM:Você saiu da fila\.": "fim",
        },
        "conversa": {r"\[C\d+\.\d+\]: .*": "conversa", r"AVISO:Mensagem longa.+": "conversa", r"FIM:Atend.+": "livre"},
        "livre": {r"FILA:OK": "fila", r"CONECTADO:C.+": "conversa"},
        "fim": {},
    },
}


class Fiscal:
    """Confere, linha a linha, se o que uma conexão recebe pode vir depois do que já recebeu."""

    def __init__(self, tipo: str) -> None:
        self.tipo, self.estado = tipo, "entrando"
        self.par, self.ultima, self.posicao = "", -1, 10**6
        self.historia: collections.deque[str] = collections.deque(maxlen=10)

    def confere(self, linha: str) -> None:
        self.historia.append(linha)
        passos = AUTOMATO[self.tipo][self.estado].items()
        seguinte = next((estado for forma, estado in passos if re.fullmatch(forma, linha)), None)
        assert seguinte, f"{self.tipo} em {self.estado}: {list(self.historia)}"
        self.estado = seguinte
        assert sem_controles(linha), f"controle em {linha!r}"
        if linha.startswith("CONECTADO:"):
            self.par, self.ultima = linha.removeprefix("CONECTADO:"), -1
        elif linha.startswith("["):
            assert linha.startswith(f"[{self.par}]: "), f"{linha!r} numa conversa com {self.par}"
            if numerada := re.fullmatch(r"\[.+\]: n(\d+)", linha):
                assert int(numerada[1]) > self.ultima, f"{list(self.historia)}"
                self.ultima = int(numerada[1])
        elif self.tipo == "CLIENTE" and linha.startswith("FILA:"):
            assert int(linha[5:]) < self.posicao, f"posição antiga: {list(self.historia)}"
            self.posicao = int(linha[5:])


class Caotico:
    """Alguém que faz de tudo, nas escolhas de um sorteio, e confere cada linha que recebe."""

    def __init__(self, servidor, semente: str, numero: int) -> None:
        self.servidor, self.numero = servidor, numero
        self.sorte = random.Random(f"{semente}-{numero}")
        self.letra, self.tipo = ("C", "CLIENTE") if numero % 2 else ("A", "ATENDENTE")

    def vidas(self, quantas: int) -> None:
        for vida in range(quantas):
            self.eu = self.servidor.conecta(f"{self.letra}{self.numero}.{vida}")
            self.fiscal, self.proximo = Fiscal(self.tipo), 0
            self.le = self.sorte.random() < 0.9  # um em dez só lê no fim
            with contextlib.suppress(ConnectionError):  # o servidor corta quem não lê, e quem já recebeu FIM:
                self.viver()
            self.eu.fecha()

    def viver(self) -> None:
        fluxo = f"{self.tipo}\n{self.eu.nome}\n".encode()
        if self.sorte.random() < 0.1:
            fluxo = self.sorte.choice((b"GERENTE\n", b"\xff\n", f"{self.tipo}\n[]\n".encode(), b"C" * 5000))
        self.aos_pedacos(fluxo)
        for _ in range(self.sorte.randrange(12)):
            self.sorte.choice((self.falar, self.falar, self.falar, self.rajada, self.lixo, self.encerrar))()
            if self.le:
                self.ler_o_que_chegou()
        self.sorte.choice((self.eu.some, self.eu.fecha, self.ate_o_fim, self.ate_o_fim))()

    def aos_pedacos(self, dados: bytes) -> None:
        while dados:
            n = self.sorte.choice((1, 5, 64, len(dados)))
            self.eu.envia(dados[:n])
            dados = dados[n:]

    def falar(self) -> None:
        prefixo = self.sorte.choice(("", f"[{self.eu.nome}]: "))
        self.aos_pedacos(f"{prefixo}n{self.proximo}\n".encode())
        self.proximo += 1

    def rajada(self) -> None:
        quantas = self.sorte.randrange(1, 300)
        self.eu.envia(*(f"n{i}" for i in range(self.proximo, self.proximo + quantas)))
        self.proximo += quantas

    def lixo(self) -> None:
        self.eu.envia(self.sorte.randbytes(self.sorte.choice((3, 200, 6000))).replace(b"FIM:", b"") + b"\n")

    def encerrar(self) -> None:
        if self.sorte.random() < 0.3:
            self.eu.envia("FIM:")

    def ler_o_que_chegou(self) -> None:
        while self.eu.tem_o_que_ler():
            if (linha := self.eu.linha()) is FECHOU:
                raise ConnectionError("o servidor fechou")
            self.fiscal.confere(linha)

    def ate_o_fim(self) -> None:
        self.eu.para_de_escrever()
        while (linha := self.eu.linha()) is not FECHOU:
            self.fiscal.confere(linha)


@pytest.mark.parametrize("vidas", [pytest.param(20, id="rapido"), demorado(400, id="longo")])
def test_caos(abrir_servidor, vidas):
    """Quarenta participantes fazem de tudo; cada um só recebe o que podia receber, e nada sobra."""
    semente = os.environ.get("FILA_SEMENTE") or str(random.SystemRandom().randrange(10**9))
    print(f"para repetir os mesmos sorteios: FILA_SEMENTE={semente}")
    servidor = abrir_servidor(prazo_identificacao=1.0, prazo_envio=0.5)
    caoticos = [Caotico(servidor, semente, numero) for numero in range(40)]
    with ThreadPoolExecutor(len(caoticos)) as threads:
        tarefas = [threads.submit(caotico.vidas, vidas) for caotico in caoticos]
    for tarefa in tarefas:
        tarefa.result()
    ultimo = servidor.conecta()  # aceita-se por ordem de chegada: depois dele, ninguém está por aceitar
    ultimo.envia("ninguém")
    ultimo.le_ate(FECHOU)
    ultimo.fecha()
    servidor.espera_que_fechem()
    filas = servidor.filas
    assert not (filas.user_states or filas.fila_clientes or filas.fila_atendentes)
    conferir_conversa(*servidor.par())


# --- O processo -----------------------------------------------------------------------------------

# O programa como ele é, mas que diz a sua porta também em stderr: há testes que estragam a stdout.
PROGRAMA = """
import sys, servidor
class DizAPorta(servidor.Servidor):
    def servir(self):
        super().servir()
        print(self.server_address[1], file=sys.stderr, flush=True)
servidor.Servidor = DizAPorta
sys.exit(servidor.main())
"""


class Processo(Anfitriao):
    """Um servidor em outro processo."""

    def __init__(self, *opcoes: str, porta: int = 0, antes: tuple[str, ...] = (), **popen) -> None:
        comando = [*antes, sys.executable, "-c", PROGRAMA, "--host", "127.0.0.1", "--porta", str(porta), *opcoes]
        ambiente = {nome: valor for nome, valor in os.environ.items() if nome != "FILA_SENHA"}
        popen = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "env": ambiente} | popen
        self.popen = subprocess.Popen(comando, cwd=Path(modulo.__file__).parent, **popen)
        assert select.select([self.popen.stderr], [], [], PRAZO)[0], "o servidor não subiu"
        super().__init__(("127.0.0.1", int(self.popen.stderr.readline())))

    def termina(self, *sinais: int) -> None:
        """Manda os sinais; o processo tem de acabar bem em cinco segundos."""
        for sinal in sinais:
            self.popen.send_signal(sinal)
        assert self.popen.wait(timeout=5) == 0

    def limpa(self) -> None:
        self.fecha_participantes()
        self.popen.kill()
        self.popen.wait(PRAZO)
        for saida in self.popen.stdout, self.popen.stderr:
            if saida is not None:
                saida.close()


@pytest.fixture
def abrir_processo():
    """Sobe servidores em outros processos, com as opções de `Processo`."""
    abertos = []

    def abrir(*opcoes, **popen) -> Processo:
        abertos.append(Processo(*opcoes, **popen))
        return abertos[-1]

    yield abrir
    for processo in abertos:
        processo.limpa()


@so_no_posix
@pytest.mark.parametrize(
    "sinais, ha_surdo",
    [
        pytest.param((signal.SIGINT,), False, id="ctrl-c"),
        pytest.param((signal.SIGTERM,), False, id="sigterm"),
        demorado((signal.SIGTERM, signal.SIGINT, signal.SIGTERM), True, id="impaciente-e-com-quem-nao-le"),
    ],
)
def test_o_sinal_encerra_o_servidor(abrir_processo, sinais, ha_surdo):
    """Quem lê recebe o `FIM:`, quem não lê não segura o fim, e a porta reabre em seguida."""
    processo = abrir_processo("--max-conexoes", "200")
    leitores = [processo.conecta("mudo")]
    for i in range(20):
        leitores += processo.par(f"C{i}", f"A{i}")
    if ha_surdo:
        _, falante = processo.par("Surdo", "Falante", buffers=4096)
        entupir(falante)
        leitores.append(falante)
    leitores += [processo.cliente(f"D{i}", f"FILA:{i}") for i in range(1, 6)]
    for sinal in sinais:
        processo.popen.send_signal(sinal)
    for leitor in leitores:
        leitor.espera(DESLIGADO, FECHOU)
        leitor.fecha()
    processo.termina()  # já recebeu os sinais
    outro = abrir_processo(porta=processo.endereco[1])
    conferir_conversa(*outro.par())
    outro.fecha_participantes()
    outro.termina(signal.SIGTERM)


@so_no_posix
@pytest.mark.parametrize("saida", ["parada", "quebrada", "cheia"])
def test_a_saida_padrao_estragada_nao_atrapalha_ninguem(abrir_processo, saida):
    """Com o log parado, quebrado ou sem espaço, o servidor atende e encerra no prazo."""
    with contextlib.ExitStack() as pilha:
        if saida == "cheia":
            if not os.path.exists("/dev/full"):
                pytest.skip("sem /dev/full")
            escrita = pilha.enter_context(open("/dev/full", "w"))
        else:
            leitura, fd = os.pipe()
            escrita = pilha.enter_context(open(fd, "w"))
            if saida == "quebrada":
                os.close(leitura)
            else:
                pilha.callback(os.close, leitura)
        processo = abrir_processo(stdout=escrita)
        for _ in range(450):  # mais log do que cabe num cano
            curioso = processo.conecta()
            curioso.envia("CLIENTE", "Curioso da Silva Quase Quarenta Letras", "FIM:")
            curioso.le_ate(FECHOU)
            curioso.fecha()
        conferir_conversa(*processo.par())
        processo.fecha_participantes()
        processo.termina(signal.SIGTERM)


def segundos_de_cpu(pid: int) -> float:
    campos = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(campos[11]) + int(campos[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.demorado
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="usa o /proc do Linux")
def test_o_limite_de_descritores_do_sistema(abrir_processo):
    """Com 64 descritores e 200 conexões o servidor não gira em falso, e atende quando vagam lugares."""
    processo = abrir_processo(antes=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))
    conexoes = [processo.conecta() for _ in range(200)]
    conexoes[0].envia("CLIENTE", "Primeiro")
    conexoes[0].espera("NOME:", "FILA:1")
    antes = segundos_de_cpu(processo.popen.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        processo.popen.wait(timeout=3)
    assert segundos_de_cpu(processo.popen.pid) - antes < 0.5
    for conexao in conexoes[1:-1]:
        conexao.fecha()
    conexoes[-1].envia("CLIENTE", "Último")
    conexoes[-1].espera("NOME:", "FILA:2")
    processo.termina(signal.SIGTERM)


def memoria(pid: int) -> int:
    """A memória residente do processo, em KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def pior_em_cem(par: tuple[Participante, Participante], vezes: int = 1000) -> float:
    """O p99, em milissegundos, de uma ida e volta entre os dois."""
    tempos = []
    for _ in range(vezes):
        inicio = time.perf_counter()
        conferir_conversa(*par)
        tempos.append((time.perf_counter() - inicio) * 1000)
    return sorted(tempos)[vezes * 99 // 100]


@pytest.mark.demorado
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="usa o /proc do Linux")
def test_vinte_mudos_inundados(abrir_processo, capsys):
    """Vinte pares em que um inunda o outro, que nunca lê, não enchem a memória nem calam outro par."""
    processo = abrir_processo("--prazo-envio", "5")
    outros = processo.par("Beto", "Bia")
    pares = [processo.par(f"C{i}", f"A{i}", buffers=4096) for i in range(20)]
    sozinhos, antes = pior_em_cem(outros), memoria(processo.popen.pid)
    with ThreadPoolExecutor(len(pares)) as threads:
        inundacoes = [threads.submit(inundar, cliente) for cliente, _ in pares]
        acompanhados, durante = pior_em_cem(outros), memoria(processo.popen.pid)
        assert not any(inundacao.done() for inundacao in inundacoes), "a medida tinha de ser durante a inundação"
    for inundacao in inundacoes:
        inundacao.result()
    assert durante - antes < 64 * 1024
    for i, (cliente, _) in enumerate(pares):
        cliente.espera(f"FIM:Atendimento encerrado. O atendente A{i} desconectou.", FECHOU)
    conferir_conversa(*outros)
    with capsys.disabled():
        print(f"\np99 {sozinhos:.2f} ms sem inundação, {acompanhados:.2f} ms com; +{durante - antes} KiB")


@so_no_posix
@pytest.mark.demorado
@pytest.mark.parametrize("sinal", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_o_sinal_encerra_uma_multidao(abrir_processo, capsys, sinal):
    """Com 500 conexões, 20 delas sem ler, o `FIM:` chega a todos os que leem e o servidor termina."""
    processo = abrir_processo()
    mudos = [processo.par(f"C{i}", f"A{i}", buffers=4096) for i in range(20)]
    for cliente, _ in mudos:
        entupir(cliente)
    leitores = [cliente for cliente, _ in mudos]
    for i in range(200):
        leitores += processo.par(f"D{i}", f"B{i}")
    leitores += [processo.cliente(f"E{i}", f"FILA:{i}") for i in range(1, 61)]
    inicio = time.perf_counter()
    processo.popen.send_signal(sinal)
    for leitor in leitores:
        leitor.espera(DESLIGADO, FECHOU)
        leitor.fecha()
    processo.termina()
    with capsys.disabled():
        print(f"\n{len(leitores)} leitores despedidos e processo terminado em {time.perf_counter() - inicio:.1f} s")
    outro = abrir_processo(porta=processo.endereco[1])
    conferir_conversa(*outro.par())


@pytest.mark.demorado
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="usa o /proc do Linux")
def test_cinquenta_megabytes_sem_fim_de_linha(abrir_processo, capsys):
    """Uma linha que não acaba ganha um aviso só, não ocupa memória, e a conversa continua depois dela."""
    processo = abrir_processo()
    yuri, ana = processo.par()
    antes = memoria(processo.popen.pid)
    for _ in range(50):
        yuri.envia(b"x" * 2**20)
    yuri.envia("")
    yuri.espera(LONGA_DEMAIS)
    conferir_conversa(yuri, ana)
    durante = memoria(processo.popen.pid)
    assert durante - antes < 4 * 1024
    with capsys.disabled():
        print(f"\n+{durante - antes} KiB depois de 50 MB")
