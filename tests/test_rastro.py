"""O rastro: o que aparece na tela do professor, e que nada mude por estar sendo observado."""

import logging
import re
import socket
import sys
import threading

import pytest
from participante import FECHOU, PRAZO

from rastro import COLUNA, Rastro, SocketRastreado, TravaRastreada

HORA = r"\d\d:\d\d:\d\d\.\d\d\d"


@pytest.fixture
def contado(caplog):
    """O que o rastro contou, sem a hora, linha por linha; espera-se por uma delas com `ate`."""
    caplog.set_level(logging.INFO, "fila.rastro")

    class Contado(logging.Handler):
        def __init__(self):
            super().__init__()
            self.chegou = threading.Condition()
            self.linhas = []

        def emit(self, registro):
            with self.chegou:
                self.linhas += re.sub(f"^{HORA}", "", registro.getMessage()).split("\n")
                self.chegou.notify_all()

        def ate(self, trecho):
            with self.chegou:
                assert self.chegou.wait_for(lambda: any(trecho in linha for linha in self.linhas), PRAZO), self.linhas

    tratador = Contado()
    logging.getLogger("fila.rastro").addHandler(tratador)
    yield tratador
    logging.getLogger("fila.rastro").removeHandler(tratador)


@pytest.fixture
def par_de_sockets():
    um, outro = socket.socketpair()
    with um, outro:
        yield um, outro


def sem_espacos(linhas):
    return [" ".join(linha.split()) for linha in linhas]


def test_uma_conversa(abrir_servidor, contado):
    """Cada linha que entra e que sai, com a thread que a tratou, de quem é e os bytes como são."""
    servidor = abrir_servidor(rastro=Rastro())
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.cliente("Yuri", "CONECTADO:Ana")
    ana.espera("CONECTADO:Yuri")
    yuri.envia("Olá!")
    ana.espera("[Yuri]: Olá!")
    yuri.para_de_escrever()
    yuri.espera(FECHOU)
    contado.ate("(fim do fluxo)")
    linhas = sem_espacos(contado.linhas)
    esperadas = [
        r"conexao-2 <- b'CLIENTE\n'",
        r"conexao-2 -> conexao-2 b'NOME:\n'",
        r"conexao-2 <- b'Yuri\n'",
        r"conexao-2 Yuri -> conexao-1 Ana b'CONECTADO:Yuri\n'",
        r"conexao-2 Yuri -> conexao-2 Yuri b'CONECTADO:Ana\n'",
        r"conexao-2 Yuri <- b'Ol\xc3\xa1!\n'",
        r"conexao-2 Yuri -> conexao-1 Ana b'[Yuri]: Ol\xc3\xa1!\n'",
        r"conexao-2 Yuri <- (o outro fechou)",
        r"carteiro -> conexao-2 Yuri (fim do fluxo)",
    ]
    assert [linha for linha in linhas if linha in esperadas] == esperadas


@pytest.mark.parametrize(
    "dados, mostrado",
    [
        (b"um\n", [r"b'um\n'"]),
        (b"um\ndois\ntres\n", [r"b'um\n'", r"b'dois\n'", r"b'tres\n'", "(3 linhas de uma vez)"]),
        (b"met", [r"b'met'", "(meia linha)"]),
        (b"um\nmet", [r"b'um\n'", r"b'met'", "(2 linhas de uma vez; a última, pela metade)"]),
        (b"\n\n", [r"b'\n'", r"b'\n'", "(2 linhas de uma vez)"]),
        (b"\xff\x00\r\n", [r"b'\xff\x00\r\n'"]),
    ],
    ids=["uma", "tres", "meia", "uma-e-meia", "vazias", "bytes-estranhos"],
)
def test_o_que_um_recv_trouxe(par_de_sockets, contado, dados, mostrado):
    """Uma linha do rastro para cada linha do recv, alinhadas, e uma nota se não foi exatamente uma."""
    um, outro = par_de_sockets
    outro.sendall(dados)
    assert SocketRastreado(um, Rastro()).recv(4096) == dados
    primeira, *demais = contado.linhas
    comeco = primeira.index("b'")
    assert [primeira[comeco:], *(linha.strip() for linha in demais)] == mostrado
    assert all(linha.index(linha.strip()) == comeco + len("00:00:00.000") for linha in demais)


def test_o_que_coube_num_send(par_de_sockets, contado):
    """Do envio só se mostra o que o kernel aceitou."""
    um, _ = par_de_sockets
    um.setblocking(False)
    quantos = SocketRastreado(um, Rastro()).send(b"x" * 10_000_000)
    assert f"b'{'x' * quantos}'" in contado.linhas[0]


def test_um_nome_comprido_nao_desalinha(contado):
    """O nome que não cabe na coluna é cortado."""
    nome = f"conexao-1 {'x' * 40}"
    Rastro().contar("->", nome, b"oi\n")
    assert f"->  {nome[: COLUNA - 1]} b'oi" in contado.linhas[0]


def test_o_resto_do_socket_e_o_de_dentro(par_de_sockets):
    """O que não se rastreia chega ao socket de verdade."""
    um, _ = par_de_sockets
    assert SocketRastreado(um, Rastro()).fileno() == um.fileno()


def test_a_espera_pela_trava(contado):
    """Quem teve de esperar diz quanto, e por quem; quem não teve não diz nada."""
    trava = TravaRastreada(Rastro())
    com_ela, pode_soltar = threading.Event(), threading.Event()

    def dona():
        with trava:
            com_ela.set()
            assert pode_soltar.wait(PRAZO)

    def outra():
        with trava:
            pass

    threads = [threading.Thread(target=dona, name="conexao-1 Ana"), threading.Thread(target=outra, name="conexao-2 Yuri")]
    threads[0].start()
    assert com_ela.wait(PRAZO)
    quer = threading.Event()
    original = trava._trava

    class Avisa:
        """A trava de dentro, que avisa quando alguém se põe a esperar por ela."""

        def acquire(self, blocking=True):
            if blocking:
                quer.set()
            return original.acquire(blocking)

        def release(self):
            original.release()

    trava._trava = Avisa()
    threads[1].start()
    assert quer.wait(PRAZO)
    pode_soltar.set()
    for thread in threads:
        thread.join(PRAZO)
    (linha,) = sem_espacos(contado.linhas)
    assert re.fullmatch(r"conexao-2 Yuri \.\. esperou \d+,\d ms pela trava, que estava com conexao-1 Ana", linha)


def test_sem_custo_quando_desligado(abrir_servidor):
    """Sem a opção, o socket e a trava são os do Python, e não há nada no caminho."""
    servidor = abrir_servidor()
    servidor.par()
    assert all(type(conexao.sock) is socket.socket for conexao in servidor.conexoes)
    assert type(servidor.filas.trava) is type(threading.Lock())


def test_cores_por_participante(monkeypatch, contado):
    """Cada participante tem a sua cor, a mesma sempre."""
    pytest.importorskip("colorama")
    rastro = Rastro()
    rastro._cores = True
    for outro in ("conexao-1 Ana", "conexao-2 Yuri", "conexao-1 Ana"):
        rastro.contar("->", outro, b"oi\n")
    cores = [re.findall(r"\x1b\[3\dm", linha)[0] for linha in contado.linhas]
    assert cores[0] == cores[2] != cores[1]


def test_na_largura_da_tela(monkeypatch, contado):
    """Num terminal, a linha que não cabe é cortada, e diz quantos bytes tinha."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("rastro.usar_cores", lambda saida: False)
    Rastro().contar("->", "conexao-1 Ana", b"x" * 500 + b"\n")
    assert contado.linhas[0].endswith("… 501 bytes") and len(contado.linhas[0]) + len("00:00:00.000") == 100
