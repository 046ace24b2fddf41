"""O rastro: o que aparece na tela do professor, e que nada mude por estar sendo observado."""

import logging
import re
import socket
import sys
import threading

import pytest
from participante import FECHOU, PRAZO
from test_protocolo import casos

from atendimento import rastro as modulo
from atendimento.rastro import COLUNA, Rastro, Sigilo, SocketRastreado, TravaRastreada

HORA = r"\d\d:\d\d:\d\d\.\d\d\d"


class Contado(logging.Handler):
    """O que o rastro contou, linha por linha e sem a hora."""

    def __init__(self) -> None:
        super().__init__()
        self.chegou = threading.Condition()
        self.linhas: list[str] = []

    def emit(self, linha: logging.LogRecord) -> None:
        with self.chegou:
            self.linhas += re.sub(f"^{HORA}", "", linha.getMessage()).split("\n")
            self.chegou.notify_all()

    def ate(self, trecho: str) -> list[str]:
        """Espera por uma linha com `trecho`; devolve todas, com um espaço só entre as colunas."""
        with self.chegou:
            assert self.chegou.wait_for(lambda: any(trecho in linha for linha in self.linhas), PRAZO), self.linhas
            return [" ".join(linha.split()) for linha in self.linhas]


@pytest.fixture
def contado(caplog):
    caplog.set_level(logging.INFO, "fila.rastro")
    contado = Contado()
    modulo.log.addHandler(contado)
    yield contado
    modulo.log.removeHandler(contado)


@pytest.fixture
def par_de_sockets():
    um, outro = socket.socketpair()
    with um, outro:
        yield um, outro


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
    linhas = contado.ate("(fim do fluxo)")
    esperadas = [
        r"conexao-2 <- b'CLIENTE\n'",
        r"conexao-2 -> conexao-2 b'NOME:\n'",
        r"conexao-2 <- b'Yuri\n'",
        r"conexao-2 Yuri -> conexao-2 Yuri b'CONECTADO:Ana\n'",
        r"conexao-2 Yuri -> conexao-1 Ana b'CONECTADO:Yuri\n'",
        r"conexao-2 Yuri <- b'Ol\xc3\xa1!\n'",
        r"conexao-2 Yuri -> conexao-1 Ana b'[Yuri]: Ol\xc3\xa1!\n'",
        r"conexao-2 Yuri <- (o outro fechou)",
        r"conexao-2 Yuri -> conexao-2 Yuri (fim do fluxo)",
    ]
    assert [linha for linha in linhas if linha in esperadas] == esperadas


CHEGAM = {
    "texto": (b"\n ATENDENTE:Vendas\r\nxadrez\nxadrez\n", b"\n ATENDENTE:Vendas\r\n????\nxadrez\n"),
    "cliente": (b"CLIENTE\nxadrez\n", b"CLIENTE\nxadrez\n"),
    "recusado": (b"GERENTE\nxadrez\n", b"GERENTE\nxadrez\n"),
    "json": (
        b'\n\xef\xbb\xbf{"senha" : "xa\\"drez" ,"nome":"Ana"}\n{"senha":"xa\xc3\xa7"}\n{"senha":77}\n{"senha":""}\n',
        b'\n\xef\xbb\xbf{"senha" : "????" ,"nome":"Ana"}\n{"senha":"????"}\n{"senha":????\n{"senha":""}\n',
    ),
    "json-sem-senha": (b'{"comando":"mensagem","texto":"a senha"}\n', b'{"comando":"mensagem","texto":"a senha"}\n'),
}


@casos("dados, mostrado", CHEGAM)
@casos("tamanho", {"um-byte": 1, "dois-bytes": 2, "sete-bytes": 7, "de-uma-vez": 4096})
def test_a_senha_nao_se_mostra(dados, mostrado, tamanho):
    """A resposta a `SENHA:` e o campo `senha` do JSON viram `••••`, caiam os cortes onde caírem; o mais, não."""
    sigilo, oculta = Sigilo(ha_senha=True), "••••".encode()
    visto = b"".join(sigilo.ocultar(dados[de : de + tamanho]) for de in range(0, len(dados), tamanho))
    assert re.sub(b"(%s)+" % oculta, b"????", visto) == mostrado
    assert Sigilo(ha_senha=False).ocultar(CHEGAM["texto"][0]) == CHEGAM["texto"][0]


def test_a_senha_na_tela(abrir_servidor, contado):
    """Quem olha o rastro vê que veio uma senha, e não qual."""
    ana = abrir_servidor(rastro=Rastro(), senha="xadrez").conecta()
    ana.envia("ATENDENTE", "xadrez", "Ana")
    ana.espera("SENHA:", "NOME:", "FILA:OK")
    linhas = contado.ate("FILA:OK")
    assert r"b'••••\n'" in linhas and "xadrez" not in "".join(linhas)


@casos(
    "dados, mostrado",
    {
        "uma": (b"um\n", [r"b'um\n'"]),
        "tres": (b"um\ndois\ntres\n", [r"b'um\n'", r"b'dois\n'", r"b'tres\n'", "(3 linhas de uma vez)"]),
        "meia": (b"met", [r"b'met'", "(meia linha)"]),
        "uma-e-meia": (b"um\nmet", [r"b'um\n'", r"b'met'", "(2 linhas de uma vez; a última, pela metade)"]),
        "vazias": (b"\n\n", [r"b'\n'", r"b'\n'", "(2 linhas de uma vez)"]),
        "bytes-estranhos": (b"\xff\x00\r\n", [r"b'\xff\x00\r\n'"]),
    },
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


def test_de_quem_e_um_socket(par_de_sockets, contado):
    """Da primeira thread que o lê; antes dela, de um recém-chegado; do envio só se mostra o que coube."""
    um, outro = par_de_sockets
    um.setblocking(False)
    rastreado = SocketRastreado(um, Rastro())
    assert rastreado.fileno() == um.fileno()
    outro.sendall(b"a\nb\n")
    quantos = rastreado.send(b"x" * 900_000)
    dona = threading.Thread(target=rastreado.recv, args=(2,), name="conexao-1 Ana")
    dona.start()
    dona.join(PRAZO)
    rastreado.recv(4096)
    rastreado.shutdown(socket.SHUT_WR)
    outro.settimeout(PRAZO)
    while outro.recv(2**20):
        pass
    assert contado.ate("fim do fluxo") == [
        f"MainThread -> recém-chegado b'{'x' * quantos}'",
        "(meia linha)",
        r"conexao-1 Ana <- b'a\n'",
        r"MainThread <- conexao-1 Ana b'b\n'",
        "MainThread -> conexao-1 Ana (fim do fluxo)",
    ]


def test_a_espera_pela_trava(contado):
    """Quem teve de esperar diz quanto, e por quem; quem não teve não diz nada."""
    trava, quer = TravaRastreada(Rastro()), threading.Event()
    de_dentro = trava._trava

    class Avisa:
        """A trava de dentro, que avisa quando alguém vai esperar por ela."""

        release, locked = de_dentro.release, de_dentro.locked

        def acquire(self, blocking=True):
            if blocking:
                quer.set()
            return de_dentro.acquire(blocking)

    def usar() -> None:
        with trava:
            assert trava.locked()

    trava._trava = Avisa()
    outra = threading.Thread(target=usar, name="conexao-2 Yuri")
    trava.acquire()
    outra.start()
    assert quer.wait(PRAZO)
    trava.release()
    outra.join(PRAZO)
    usar()
    assert not trava.locked()
    (linha,) = contado.ate("esperou")
    assert re.fullmatch(r"conexao-2 Yuri \.\. esperou \d{1,5},\d ms pela trava, que estava com MainThread", linha)
    Rastro().esperou(0.01234, "conexao-1 Ana")
    contado.ate("esperou 12,3 ms pela trava, que estava com conexao-1 Ana")


def test_cores_por_participante(contado, monkeypatch):
    """Cada conexão tem a sua cor, a mesma antes e depois de se saber o nome, que não desalinha as colunas."""
    pytest.importorskip("colorama")
    rastro, comprido = Rastro(), f"conexao-6 {'x' * 40}"
    rastro._cores = True
    for outro in (*(f"conexao-{numero}" for numero in range(1, 7)), comprido, "carteiro"):
        rastro.contar("->", outro, b"oi\n")
    monkeypatch.setattr(threading.current_thread(), "name", "conexao-6")
    rastro.contar("<-", "", b"oi\n")
    *cores, do_comprido, do_carteiro, da_propria = [re.findall(r"\x1b\[3\dm", linha) for linha in contado.linhas]
    assert len({cor for cor, _ in cores}) == 6 and all(do_nome == da_linha for do_nome, da_linha in cores)
    assert do_comprido == da_propria == cores[-1] and do_carteiro == []
    lisas = [re.sub(r"\x1b\[\d*m", "", linha) for linha in contado.linhas]
    assert {linha.index("b'oi") for linha in lisas} == {2 + COLUNA + 4 + COLUNA}
    assert f"->  {comprido[: COLUNA - 1]} b'oi" in lisas[6]


def test_na_largura_da_tela(monkeypatch, contado):
    """Num terminal, a linha que não cabe é cortada, e diz quantos bytes tinha."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(modulo, "usar_cores", lambda saida: False)
    Rastro().contar("->", "conexao-1 Ana", b"x" * 500 + b"\n")
    assert contado.linhas[0].endswith("… 501 bytes") and len(contado.linhas[0]) + len("00:00:00.000") == 100
    assert [modulo._cortada(b"xyz", cabem) for cabem in (6, 5, -1)] == ["b'xyz'", "… 3 bytes", "… 3 bytes"]
    monkeypatch.setattr(modulo.time, "time", lambda: 7.25)
    assert modulo._hora().endswith(":07.250")
