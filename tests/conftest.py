"""O servidor de teste, e a conferência de que nenhum teste deixa nada para trás."""

import os
import socket
import sys
import threading

import pytest

pytest.register_assert_rewrite("participante")

import servidor as modulo  # noqa: E402
from participante import PRAZO, Anfitriao  # noqa: E402


class ConexaoVigiada(modulo.Conexao):
    """Uma conexão do servidor que conta quando é fechada."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.fechou = threading.Event()

    def fechar(self) -> None:
        super().fechar()
        self.fechou.set()


class ServidorDeTeste(Anfitriao, modulo.Servidor):
    """O servidor de verdade, numa porta livre. Guarda os erros que o `ThreadingMixIn` engoliria."""

    def __init__(self, porta: int = 0, **opcoes) -> None:
        modulo.Servidor.__init__(self, ("127.0.0.1", porta), **opcoes)
        Anfitriao.__init__(self, self.server_address)
        self.erros: list[BaseException] = []
        self.conexoes: list[ConexaoVigiada] = []  # todas as que já aceitou

    def serve_forever(self, poll_interval: float = 0.0) -> None:
        super().serve_forever(poll_interval=0.005)

    def get_request(self) -> tuple:
        conexao, endereco = super().get_request()
        self.conexoes.append(conexao)
        return conexao, endereco

    def handle_error(self, conexao, endereco) -> None:
        self.erros.append(sys.exc_info()[1])

    def espera_que_fechem(self) -> None:
        """Espera que todas as conexões aceitas até aqui sejam fechadas."""
        for conexao in list(self.conexoes):
            assert conexao.fechou.wait(PRAZO), f"{conexao} ficou aberta"

    def termina(self) -> None:
        """Ninguém mais conectado, servidor encerrado; um erro guardado reaparece."""
        self.fecha_participantes()
        if self.porteiro.is_alive():
            self.espera_que_fechem()
            self.encerrar()
        for thread in self.porteiro, self.carteiro:
            thread.join(PRAZO)
        abertas = [conexao for conexao in self.conexoes if not conexao.fechou.is_set()]
        for conexao in abertas:
            conexao.fechar()  # uma só falha, e não também as dos testes seguintes
        assert not abertas, "o servidor encerrou e deixou conexões abertas"
        if self.erros:
            raise self.erros[0]


@pytest.fixture
def abrir_servidor(monkeypatch):
    """Abre servidores com as opções que o teste pedir: `abrir_servidor(senha="x", prazo_envio=1)`."""
    monkeypatch.setattr(modulo, "Conexao", ConexaoVigiada)
    monkeypatch.setattr(modulo, "INSISTIR_A_CADA", 0.005)
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
