"""O que dá errado: quem não lê, quem some, quem mente, e o sistema que não tem mais o que dar.

As versões rápidas rodam sempre; as longas, com `pytest -m demorado`.
"""

import builtins
import contextlib
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
import vigias
from conferidor.regras import (
    ANA_DESCONECTOU,
    ANA_ENCERROU,
    DESLIGADO,
    LIMITE_NA_FILA,
    LONGA_DEMAIS,
    NA_FILA,
    NAO_UTF8,
    NOME_INVALIDO,
    PARECE_TELNET,
    SAIU_DA_FILA,
    SEM_CLIENTE,
    SEM_CONVERSA,
    TIPO_INVALIDO,
    VOCE_ENCERROU,
    YURI_DESCONECTOU,
)
from conftest import descritores
from participante import FECHOU, PRAZO, Anfitriao, Participante
from test_servidor import ESGOTADO, LOTADO

import servidor as modulo
from atendimento import maquina
from atendimento.conexao import Conexao

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
    """Abre servidores com buffers de poucos KiB no kernel: quem não lê é notado logo.

    Um `prazo_envio` curto só vence para quem não lê: ao outro basta o seu sistema ter onde receber.
    """
    monkeypatch.setattr(Conexao, "BUFFER_DE_ENVIO", 4096)

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
    servidor = abrir_estreito(prazo_envio=0.1)
    yuri, ana = servidor.par(buffers=4096)
    outros = servidor.par("Beto", "Bia")
    falante, fim = (ana, YURI_DESCONECTOU) if mudo == "cliente" else (yuri, ANA_DESCONECTOU)
    inundar(falante, enquanto=lambda: conferir_conversa(*outros))
    falante.espera(fim)
    if mudo == "cliente":
        ana.espera("FILA:OK")
        ana.envia("\n", "FIM:")  # fecha a linha que ficou pela metade
        assert set(ana.le_ate(SEM_CONVERSA)) <= {SEM_CLIENTE}
    else:
        yuri.espera(FECHOU)
    conferir_conversa(*outros)


def test_o_mudo_a_quem_ninguem_fala_tambem_e_desconectado(abrir_estreito):
    """As linhas que o mudo recebe por causa de um terceiro também têm prazo."""
    servidor = abrir_estreito(prazo_envio=0.1)
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
    servidor = abrir_estreito(prazo_envio=0.1)
    yuri = servidor.cliente("Yuri", "FILA:1", buffers=4096)
    entupir(yuri, b"oi\n" * 1000)
    servidor.espera_que_fechem()
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


@pytest.mark.parametrize("lugares", [pytest.param(200, id="duzentas"), demorado(1000, id="mil")])
def test_muitas_conexoes_juntas_sao_todas_atendidas(abrir_servidor, lugares):
    """Quantos clientes cabem nos lugares chegam de uma vez, e cada um tem o seu lugar na fila."""
    servidor, de_clientes = abrir_servidor(maximo=lugares), lugares * 19 // 20
    maquina.permitir_descritores(2200)
    clientes = [servidor.conecta(f"C{i}") for i in range(de_clientes)]
    for cliente in clientes:
        cliente.envia("CLIENTE", cliente.nome)
    posicoes = set()
    for cliente in clientes:
        cliente.espera("NOME:")
        posicoes.add(cliente.linha())
    assert posicoes == {f"FILA:{i}" for i in range(1, de_clientes + 1)}
    atendentes = [servidor.conecta() for _ in range(lugares - de_clientes)]
    servidor.conecta().espera(LOTADO, FECHOU)
    for atendente in atendentes:
        atendente.envia("ATENDENTE", "Ana")
        atendente.espera("NOME:")
        assert atendente.linha().startswith("CONECTADO:C")


# O que dizem, se leem até o fim, e como vão embora.
VIDAS = [
    (b"", False, Participante.fecha),
    (b"CLI", False, Participante.fecha),
    (b"GERENTE\n", True, Participante.fecha),
    (os.urandom(3000), False, Participante.some),
    (b"CLIENTE\nPassante\n" + b"oi\n" * 23 + b"FIM:\n", True, Participante.fecha),
    (b"ATENDENTE\nPassante\n", False, Participante.some),
    (b"CLIENTE\nPassante\n", False, Participante.para_de_escrever),
]


def viver(servidor, dito, le, vai_embora):
    alguem = servidor.conecta()
    alguem.envia(dito)
    if le:
        alguem.le_ate(FECHOU)
    vai_embora(alguem)
    alguem.fecha()


@pytest.mark.parametrize("quantas", [pytest.param(140, id="cento-e-quarenta"), demorado(20_000, id="vinte-mil")])
def test_conexoes_curtas_nao_deixam_nada_para_tras(servidor, quantas):
    """Depois de conexões curtas de todo tipo, as threads e os descritores são os do começo."""
    threads, abertos = set(threading.enumerate()), descritores()
    for vida in itertools.islice(itertools.cycle(VIDAS), quantas):
        viver(servidor, *vida)
    ana = servidor.atendente("Ana")  # a porta é uma fila: antes da Ana, todos foram aceitos
    ana.le_ate("FILA:OK")
    ana.fecha()
    servidor.espera_que_fechem()
    for thread in set(threading.enumerate()) - threads:
        thread.join(PRAZO)
    assert set(threading.enumerate()) <= threads and descritores() == abertos
    servidor.par()


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
    conversas = r"(CONECTADO:(C\d+) (\[\2\]: oi )*FIM:Atendimento encerrado\. O cliente \2 desconectou\. (FILA:OK )?)*"
    assert re.fullmatch(conversas, "".join(f"{linha} " for linha in lidas.result()))
    conferir_conversa(ultimo, ana)


# --- Bytes malformados ----------------------------------------------------------------------------

# Controles, UTF-8 errado, outras codificações, sequências de terminal, outros protocolos, e o que parece comando.
MALFORMADAS = [
    b"\x00", bytes(range(1, 10)) + bytes(range(11, 32)), b"a\x7fb", bytes(range(0x80, 0xA0)),
    bytes(itertools.chain.from_iterable((0xC2, b) for b in range(0x80, 0xA0))),
    bytes(range(10)) + bytes(range(11, 256)), b"\x80\xbf", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc0\x80",
    b"\xe0\x80\xaf", b"\xc0\x8a", b"\xc0\x9b[2J", b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe\xff", "oi\x00".encode("utf-16"), "oi".encode("utf-32"),
    b"\xef\xbb\xbfoi", "\ufffe\uffff\U0010ffff".encode(), b"\x1b[2J\x1b[H", b"\x1b[5;31;40mperigo",
    b"\x1b]0;dono\x07", b"\x1b]8;;http://x\x1b\\clique\x1b]8;;\x1b\\", b"\x1b[6n\x1b[c\x05", b"\x9b31m\xc2\x9b31m",
    b"[Yuri]: oi\r[Ana]: mentira", b"senha\x08\x08\x08\x08\x08", b"\t\x0b\x0c", "a\u2028b\u2029c\x85d".encode(),
    "\u202eotxet\u202c \u2066x\u2069".encode(), b"\xff\xf4\xff\xfd\x06\xff\xfb\x1f",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"[Yu\x00ri]: oi\x1b",
    b"CONECTADO:\x1b[31mAna", b"FIM\x20:\xff", b"%s%n{0}{eu.__class__}\\x1b",
]  # fmt: skip


@pytest.mark.parametrize("vezes", [pytest.param(1, id="cada-uma"), demorado(2500, id="cem-mil-linhas")])
def test_nenhum_controle_chega_ao_par(servidor, vezes):
    """Venha o que vier, o par só recebe linhas de chat em UTF-8, sem controles e assinadas."""
    yuri, ana = servidor.par()
    with ThreadPoolExecutor(1) as threads:
        do_par = threads.submit(ana.le_ate, "[Yuri]: fim")
        for _ in range(vezes):
            for malformada in MALFORMADAS:
                yuri.envia(malformada + b"\n", malformada * 5 + b"\r\n")
        yuri.envia("fim")
        for linha in do_par.result():
            assert linha.startswith("[Yuri]: ") and sem_controles(linha)
    ana.envia("fim")
    yuri.espera(NAO_UTF8, "[Ana]: fim")  # só agora: no envio mais longo, o prazo da leitura passaria sem nada que ler


def test_a_identificacao_malformada_nao_quebra_o_servidor(servidor):
    """Como tipo, os mesmos bytes são recusados; como nome, servem ou não, e o servidor segue."""
    for malformada in MALFORMADAS:
        alguem = servidor.conecta()
        alguem.envia(malformada + b"\n", "GERENTE")  # que se recusa, se a primeira está em branco
        assert alguem.le_ate(FECHOU)[-1] in (TIPO_INVALIDO, PARECE_TELNET)
        alguem.fecha()
        alguem = servidor.conecta(f"quem disse ser {malformada!r}")
        alguem.envia(b"CLIENTE\n" + malformada + b"\nFIM:\n")
        alguem.espera("NOME:")
        assert alguem.le_ate(FECHOU)[-1] in (NOME_INVALIDO, SAIU_DA_FILA)
        alguem.fecha()
    servidor.cliente("Yuri", "FILA:1")


# --- Sem thread, e com a trava na mão -------------------------------------------------------------


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
        recusado.envia("CLIENTE", "Beto")
        recusado.espera(LOTADO, FECHOU)
        conferir_conversa(*par)
    servidor.cliente("Beto", "FILA:1")


NEM_COM_UMA_VEZ = [(builtins, "print"), (builtins, "input"), (logging.Logger, "handle"), (time, "sleep")]
NEM_COM_A_TRAVA = [(socket.socket, nome) for nome in ("send", "sendall", "recv", "shutdown", "close", "setsockopt")]


def test_debaixo_da_trava_so_se_mexe_em_memoria(abrir_servidor, monkeypatch, caplog):
    """Quem tem a trava não envia nem lê; nem quem só tem uma vez espera por um `recv`, um `print` ou o log."""
    caplog.set_level(logging.INFO, "fila")
    servidor, faltas, chamadas = abrir_servidor(prazo_identificacao=0.1), [], set()

    def vigiar(dono, nome):
        funcao = getattr(dono, nome)

        def vigia(*args, **opcoes):
            chamadas.add(nome)
            com_uma_vez = getattr(vigias._com_vezes, "quantas", 0)
            sem_espera = dono is socket.socket and (nome != "recv" or args[2:] == (maquina.SEM_ESPERA,))
            if servidor.filas.trava.minha or com_uma_vez and not sem_espera:
                faltas.append(nome)
            return funcao(*args, **opcoes)

        monkeypatch.setattr(dono, nome, vigia)

    for dono, nome in NEM_COM_UMA_VEZ + NEM_COM_A_TRAVA:
        vigiar(dono, nome)
    servidor.conecta().espera(ESGOTADO, FECHOU)
    servidor.prazo_identificacao = PRAZO
    ana, bia = servidor.atendente("Ana", "FILA:OK"), servidor.atendente("Bia", "FILA:OK")
    with ThreadPoolExecutor(7) as threads:
        list(threads.map(lambda vida: viver(servidor, *vida), VIDAS * 15))
    bia.some()
    ana.envia("FIM:", b"x" * 5000)
    servidor.fecha_participantes()
    servidor.espera_que_fechem()
    servidor.encerrar()
    assert chamadas >= {"send", "recv", "shutdown", "close", "handle"} and faltas == []


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


# --- O processo -----------------------------------------------------------------------------------

# O programa como ele é, mas que diz a sua porta também em stderr; que não espera muito pela stdout, que há testes que
# estragam; e que espera por quem se despede o que for preciso: com a máquina cheia, mais que uns segundos.
PROGRAMA = """
import sys, servidor
servidor.FIM_DO_LOG_EM = 0.1
servidor.Carteiro.DESPEDIDA = 600
class DeTeste(servidor.Servidor):
    def servir(self):
        super().servir()
        print(self.server_address[1], file=sys.stderr, flush=True)
    def encerrar(self):
        super().encerrar(prazo=600)
servidor.Servidor = DeTeste
sys.exit(servidor.main())
"""


class Processo(Anfitriao):
    """Um servidor em outro processo."""

    def __init__(self, *opcoes: str, porta: int = 0, antes: tuple[str, ...] = (), **popen) -> None:
        comando = [*antes, sys.executable, "-S", "-c", PROGRAMA, "--host", "127.0.0.1", "--porta", str(porta), *opcoes]
        ambiente = {nome: valor for nome, valor in os.environ.items() if nome != "FILA_SENHA"}
        popen = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "env": ambiente} | popen
        self.popen = subprocess.Popen(comando, cwd=Path(modulo.__file__).parent, **popen)
        assert select.select([self.popen.stderr], [], [], PRAZO)[0], "o servidor não subiu"
        super().__init__(("127.0.0.1", int(self.popen.stderr.readline())))

    def termina(self, *sinais: int) -> None:
        """Manda os sinais; o processo tem de acabar bem."""
        for sinal in sinais:
            self.popen.send_signal(sinal)
        assert self.popen.wait(PRAZO) == 0

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
@pytest.mark.parametrize("pares, surdos", [pytest.param(10, 0, id="poucos"), demorado(230, 20, id="multidao")])
def test_o_sinal_encerra_o_servidor(abrir_processo, pares, surdos):
    """Com Ctrl+C ou SIGTERM quem lê recebe o `FIM:`, ainda que outros não leiam, e a porta reabre em seguida."""
    porta = 0
    for sinal in signal.SIGINT, signal.SIGTERM:
        processo = abrir_processo("--prazo-envio", "600", porta=porta)
        porta = processo.endereco[1]
        leitores = [processo.conecta("mudo")]
        for i in range(pares):
            leitores += processo.par(f"C{i}", f"A{i}")
        for i in range(surdos):
            _, falante = processo.par(f"Surdo {i}", f"Falante {i}", buffers=4096)
            entupir(falante)
            leitores.append(falante)
        leitores += [processo.cliente(f"D{i}", f"FILA:{i}") for i in range(1, 6)]
        processo.popen.send_signal(sinal)
        for leitor in leitores:
            leitor.espera(DESLIGADO, FECHOU)
        processo.fecha_participantes()
        processo.termina()  # já recebeu o sinal


@so_no_posix
def test_o_segundo_sinal_nao_espera(abrir_processo):
    """Com alguém que não fecha, o encerramento espera; um segundo sinal termina já, com código 1."""
    processo = abrir_processo()
    yuri = processo.cliente("Yuri", "FILA:1")
    processo.popen.send_signal(signal.SIGINT)
    yuri.espera(DESLIGADO, FECHOU)
    processo.popen.send_signal(signal.SIGINT)
    assert processo.popen.wait(PRAZO) == 1


@so_no_posix
def test_uma_rajada_de_sinais_nao_prende_o_servidor(abrir_processo):
    """Um sinal que chega no meio do tratamento de outro nunca o faz esperar: o processo sempre acaba."""
    for processo in [abrir_processo() for _ in range(2)]:
        for sinal in [signal.SIGTERM, signal.SIGINT] * 40:
            processo.popen.send_signal(sinal)
        assert processo.popen.wait(PRAZO) in (0, 1)


@so_no_posix
@pytest.mark.parametrize("saida", ["parada", "quebrada", "cheia"])
def test_a_saida_padrao_estragada_nao_atrapalha_ninguem(abrir_processo, saida):
    """Com o log parado, quebrado ou sem espaço, o servidor atende e encerra no prazo."""
    fcntl = pytest.importorskip("fcntl")
    with contextlib.ExitStack() as pilha:
        leitura, fd = os.pipe()
        escrita = pilha.enter_context(open(fd, "w"))
        if saida == "quebrada":
            os.close(leitura)
        else:
            pilha.callback(os.close, leitura)
        if saida == "cheia":
            if not os.path.exists("/dev/full"):
                pytest.skip("sem /dev/full")
            escrita = pilha.enter_context(open("/dev/full", "w"))
        processo = abrir_processo(stdout=escrita)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
        for _ in range(60):  # mais log do que cabe num pipe de 4 KiB
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
    processo.fecha_participantes()
    processo.termina(signal.SIGTERM)


def memoria(pid: int) -> int:
    """A memória residente do processo, em KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


@pytest.mark.demorado
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="usa o /proc do Linux")
def test_vinte_mudos_inundados(abrir_processo):
    """Vinte pares em que um inunda o outro, que nunca lê, não enchem a memória nem calam outro par."""
    processo = abrir_processo("--prazo-envio", "5", "--ritmo", "0")
    outros = processo.par("Beto", "Bia")
    pares = [processo.par(f"C{i}", f"A{i}", buffers=4096) for i in range(20)]
    antes = memoria(processo.popen.pid)
    with ThreadPoolExecutor(len(pares)) as threads:
        inundacoes = [threads.submit(inundar, cliente) for cliente, _ in pares]
        for _ in range(1000):
            conferir_conversa(*outros)
        durante = memoria(processo.popen.pid)
        assert not any(inundacao.done() for inundacao in inundacoes), "a medida tinha de ser durante a inundação"
    for inundacao in inundacoes:
        inundacao.result()
    assert durante - antes < 64 * 1024
    for i, (cliente, _) in enumerate(pares):
        cliente.espera(f"FIM:Atendimento encerrado. O atendente A{i} desconectou.", FECHOU)
    conferir_conversa(*outros)


@pytest.mark.demorado
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="usa o /proc do Linux")
def test_cinquenta_megabytes_sem_fim_de_linha(abrir_processo):
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
