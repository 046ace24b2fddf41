"""O servidor de teste, e a conferência de que nenhum teste deixa nada para trás."""

import logging
import os
import signal
import socket
import sys
import threading

import pytest

pytest.register_assert_rewrite("participante", "vigias")

import servidor as modulo  # noqa: E402
from atendimento.carteiro import Carteiro  # noqa: E402
from atendimento.limites import Lugares, Senhas  # noqa: E402
from participante import PRAZO, Anfitriao  # noqa: E402
from vigias import CondicaoVigiada, ConexaoVigiada, FilasVigiadas, vigiada  # noqa: E402

threading.stack_size(modulo.PILHA)  # como no programa

DAS_FILAS = ("departamentos", "devolver", "ouvinte", "relogio")


class ServidorDeTeste(Anfitriao, modulo.Servidor):
    """O servidor de verdade, numa porta livre, vigiado. Guarda os erros que o `ThreadingMixIn` engoliria."""

    def __init__(self, porta: int = 0, host: str = "127.0.0.1", **opcoes) -> None:
        filas = FilasVigiadas(**{nome: opcoes.pop(nome) for nome in DAS_FILAS if nome in opcoes})
        # Os testes que inundam não são sobre o ritmo.
        modulo.Servidor.__init__(self, (host, porta), filas, **{"ritmo": 0} | opcoes)
        Anfitriao.__init__(self, self.server_address)
        self.mudou = CondicaoVigiada()
        self.conexoes = vigiada(dict, ("pop", "__setitem__"), self.mudou)()
        self.lugares.__class__ = vigiada(Lugares, ("dar", "cabe_o_cliente", "vagar", "relatar"), self.mudou)
        self.senhas.__class__ = vigiada(Senhas, ("conferir", "desistir"), self.mudou)
        self.erros: list[BaseException] = []
        self.aceitas: list[ConexaoVigiada] = []  # todas as conexões, pela ordem
        self.fechadas = 0

    def serve_forever(self, poll_interval: float = 0.0) -> None:
        super().serve_forever(poll_interval=0.001)

    def get_request(self) -> tuple[socket.socket, tuple]:
        sock, endereco = super().get_request()
        self.aceitas.append(self.conexoes[sock])
        return sock, endereco

    def handle_error(self, sock: socket.socket, endereco: tuple) -> None:
        self.erros.append(sys.exc_info()[1])

    def espera_que_fechem(self, *conexoes: ConexaoVigiada) -> None:
        """Espera que estas conexões, ou todas as aceitas até aqui, sejam fechadas."""
        esperadas = set(conexoes or self.aceitas)
        with self.mudou:
            assert self.mudou.wait_for(lambda: not esperadas & {*self.conexoes.values()}, PRAZO), "há conexões abertas"

    def termina(self) -> None:
        """Ninguém mais conectado, servidor encerrado; um erro guardado reaparece."""
        self.fecha_participantes()
        if self.porteiro.is_alive():
            self.espera_que_fechem()
            self.encerrar()
        for thread in self.porteiro, self.carteiro:
            thread.join(PRAZO)
        abertas = list(self.conexoes)
        for sock in abertas:
            sock.close()  # uma só falha, e não também as dos testes seguintes
        assert not abertas, "o servidor encerrou e deixou conexões abertas"
        if self.erros:
            raise self.erros[0]


class Erros(logging.Handler):
    """Os erros que o servidor pôs no log: num teste que não os provoca de propósito, nenhum."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.frases: list[str] = []

    def emit(self, linha: logging.LogRecord) -> None:
        if getattr(linha, "marca", "") == "ERRO":
            self.frases.append(linha.getMessage())


@pytest.fixture(scope="session", autouse=True)
def compilados_uma_vez(tmp_path_factory):
    """Os programas que os testes sobem dividem o que um deles compilou, ainda que aqui não se possa gravar."""
    with pytest.MonkeyPatch.context() as ambiente:
        ambiente.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("compilados")))
        ambiente.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_encerra():
    """Quem pôs a suíte em segundo plano pode ter mandado ignorar o SIGINT, e os programas herdariam isso dela."""
    antes = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, antes)


@pytest.fixture
def erros_no_log():
    """As frases de erro do servidor; o teste que as provoca esvazia a lista."""
    erros = Erros()
    logging.getLogger("fila").addHandler(erros)
    yield erros.frases
    logging.getLogger("fila").removeHandler(erros)
    assert not erros.frases


@pytest.fixture
def abrir_servidor(monkeypatch, erros_no_log):
    """Abre servidores com as opções que o teste pedir: `abrir_servidor(senha="x", prazo_envio=1)`."""
    monkeypatch.setattr(modulo, "Conexao", ConexaoVigiada)
    monkeypatch.setattr(Carteiro, "INSISTIR_A_CADA", 0.005)
    monkeypatch.setattr(Carteiro, "POSICOES_A_CADA", 0.005)
    monkeypatch.setattr(Senhas, "PRIMEIRA", 0.005)
    abertos = []

    def abrir(**opcoes) -> ServidorDeTeste:
        abertos.append(ServidorDeTeste(**opcoes))
        abertos[-1].servir()
        return abertos[-1]

    yield abrir
    for aberto in abertos:
        aberto.termina()


@pytest.fixture
def servidor(abrir_servidor) -> ServidorDeTeste:
    """Um servidor com as opções padrão."""
    return abrir_servidor()


@pytest.fixture
def par_de_sockets():
    """Dois, já ligados um ao outro."""
    um, outro = socket.socketpair()
    with um, outro:
        yield um, outro


def descritores() -> int:
    """Quantos descritores o processo tem abertos; sem `/proc`, não se sabe."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.fixture(autouse=True)
def nada_fica_para_tras():
    """Nenhuma thread nem descritor a mais depois de cada teste."""
    threads, abertos = set(threading.enumerate()), descritores()
    yield
    novas = set(threading.enumerate()) - threads
    for thread in novas:
        thread.join(PRAZO)
    assert not [thread.name for thread in novas if thread.is_alive()]
    assert descritores() <= abertos
