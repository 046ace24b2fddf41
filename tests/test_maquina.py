"""O que muda de um sistema para outro: esperas, opções de um socket, descritores e núcleos."""

import os
import runpy
import signal
import socket
import sys
from unittest.mock import Mock, call

import pytest
from participante import PRAZO
from test_protocolo import cada, casos

from atendimento import maquina

so_no_linux = pytest.mark.skipif(sys.platform != "linux", reason="só o Linux tem")


def encher(sock: socket.socket) -> int:
    """Manda até não caber mais; devolve quantos bytes couberam."""
    couberam = 0
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            couberam += sock.send(b"x" * 65536)
    return couberam


# --- Enviar e esperar -----------------------------------------------------------------------------


@cada("com_poll", True, False)
def test_esperar(par_de_sockets, monkeypatch, com_poll):
    """Espera-se o que ler, ou onde escrever; o tempo passa, e o fim do fluxo ou o socket fechado acordam."""
    if not com_poll:
        monkeypatch.delattr(maquina.select, "poll", raising=False)
    um, outro = par_de_sockets
    assert maquina.esperar_leitura(um, 0.001) is False
    assert maquina.esperar_escrita(um, PRAZO) is True
    outro.send(b"x")
    assert maquina.esperar_leitura(um, PRAZO) is True
    encher(um)
    assert maquina.esperar_escrita(um, 0.001) is False
    outro.close()
    assert maquina.esperar_leitura(um, PRAZO) is True
    um.close()
    assert maquina.esperar_leitura(um, PRAZO) is maquina.esperar_escrita(um, PRAZO) is True


@cada("sabe_se_fechou", True, False)
def test_esperar_fim(par_de_sockets, monkeypatch, sabe_se_fechou):
    """O que falta ler não acorda; o outro que fecha, sim, onde o sistema o diz; nos outros, se não há o que ler."""
    dormiu = []
    monkeypatch.setattr(maquina.time, "sleep", dormiu.append)
    if not sabe_se_fechou:
        monkeypatch.delattr(maquina.select, "POLLRDHUP", raising=False)
    elif not hasattr(maquina.select, "POLLRDHUP"):
        pytest.skip("o sistema não diz que o outro fechou")
    um, outro = par_de_sockets
    um.setblocking(False)
    assert maquina.esperar_fim(um, 0.001) is False
    outro.send(b"x")
    assert maquina.esperar_fim(um, 0.001) is False
    outro.close()
    assert maquina.esperar_fim(um, 0.001) is sabe_se_fechou
    assert um.recv(9) == b"x" and maquina.esperar_fim(um, 0.001) is True
    assert dormiu == [0.001] * 4 * (not sabe_se_fechou)
    um.shutdown(socket.SHUT_RDWR)
    assert maquina.esperar_fim(um, 0.001) is True


@pytest.mark.skipif(not hasattr(maquina.select, "poll"), reason="sem poll (Windows)")
def test_esperar_conta_em_segundos(monkeypatch):
    """O `poll` conta em milissegundos: sem a conversão, quem espera giraria."""
    poll = Mock(return_value=[])
    monkeypatch.setattr(maquina.select, "poll", lambda: Mock(poll=poll))
    monkeypatch.setattr(maquina.select, "POLLRDHUP", 8192, raising=False)
    esperas = maquina.esperar_leitura, maquina.esperar_escrita, maquina.esperar_fim
    assert not any(esperar(None, 0.25) for esperar in esperas) and poll.mock_calls == [call(250)] * 3


def test_sem_espera_onde_o_sistema_nao_sabe(monkeypatch):
    """Sem `MSG_DONTWAIT` nada se pede a mais ao `send`, e o socket é que não espera."""
    monkeypatch.delattr(socket, "MSG_DONTWAIT", raising=False)
    assert runpy.run_path(maquina.__file__)["SEM_ESPERA"] == 0


@so_no_linux
def test_esperar_num_descritor_alto(par_de_sockets):
    """Acima de 1023, que é até onde o `select` vai, espera-se do mesmo modo."""
    um, outro = par_de_sockets
    try:
        os.dup2(um.fileno(), 1999)
    except OSError:
        pytest.skip("o sistema não dá descritores acima de 1023")
    with socket.socket(fileno=1999) as alto:
        assert maquina.esperar_leitura(alto, 0.001) is False
        outro.send(b"x")
        assert maquina.esperar_leitura(alto, PRAZO) is maquina.esperar_escrita(alto, PRAZO) is True


# --- O socket de uma conexão ----------------------------------------------------------------------

OPCOES = {(socket.IPPROTO_TCP, socket.TCP_NODELAY): 1, (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1}
OPCOES |= {(socket.SOL_SOCKET, socket.SO_SNDBUF): 4321}
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


class Anota:
    """Um socket que anota o que lhe pedem, e recusa uma opção."""

    def __init__(self, recusada: tuple[int, int] | None = None) -> None:
        self.opcoes, self.recusada, self.bloqueia = {}, recusada, True

    def setsockopt(self, nivel: int, opcao: int, valor: int) -> None:
        if (nivel, opcao) == self.recusada:
            raise OSError
        self.opcoes[nivel, opcao] = valor

    def setblocking(self, bloqueia: bool) -> None:
        self.bloqueia = bloqueia


@cada("sem_espera", 0, 64)
def test_ajustar_socket(monkeypatch, sem_espera):
    """Pedem-se todas as opções que há, e a recusada não leva as outras; só sem `MSG_DONTWAIT` o socket não bloqueia."""
    monkeypatch.setattr(maquina, "SEM_ESPERA", sem_espera)
    opcoes = dict(OPCOES)
    for numero, (nome, valor) in enumerate(KEEPALIVE.items(), start=1000):
        monkeypatch.setattr(socket, nome, numero, raising=False)
        opcoes[socket.IPPROTO_TCP, numero] = valor
    for recusada in (None, *opcoes):
        sock = Anota(recusada)
        maquina.ajustar_socket(sock, 4321)
        assert sock.opcoes == {opcao: valor for opcao, valor in opcoes.items() if opcao != recusada}
        assert sock.bloqueia is bool(sem_espera)


def test_reservar_porta(monkeypatch):
    """Onde outro processo poderia tomar a porta, ela fica reservada; onde não pode, nada se pede."""
    sock = Anota()
    monkeypatch.delattr(socket, "SO_EXCLUSIVEADDRUSE", raising=False)
    maquina.reservar_porta(sock)
    assert sock.opcoes == {}
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    maquina.reservar_porta(sock)
    assert sock.opcoes == {(socket.SOL_SOCKET, -5): 1}


@so_no_linux
def test_por_confirmar(monkeypatch):
    """O que o outro ainda não confirmou; onde não há como saber, 0."""
    with socket.create_server(("127.0.0.1", 0)) as ouvinte, socket.create_connection(ouvinte.getsockname()) as um:
        assert maquina.por_confirmar(ouvinte) == maquina.por_confirmar(um) == 0
        couberam = encher(um)
        assert 0 < maquina.por_confirmar(um) < couberam
        monkeypatch.setattr(sys, "platform", "darwin")
        assert maquina.por_confirmar(um) == 0


# --- O processo -----------------------------------------------------------------------------------


BASTA, ATE_O_PEDIDO = ((1024, 4096), 1024, []), ((1024, 4096), 1025, [(1025, 4096)])
ATE_O_MAXIMO, SEM_MAXIMO = ((1024, 4096), 9999, [(4096, 4096)]), ((1024, -1), 9999, [(9999, -1)])


@cada("limites, quantos, pede", BASTA, ATE_O_PEDIDO, ATE_O_MAXIMO, SEM_MAXIMO, ((-1, -1), 9999, []))
def test_permitir_descritores(monkeypatch, limites, quantos, pede):
    """Pede o que falta, até onde o sistema deixa; se ele o nega, ou não tem limite, fica como estava."""
    resource, pedidos = pytest.importorskip("resource"), []

    def negar(_: int, pedido: tuple[int, int]) -> None:
        pedidos.append(pedido)
        raise ValueError

    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limites)
    monkeypatch.setattr(resource, "setrlimit", negar)
    maquina.permitir_descritores(quantos)
    assert pedidos == pede
    monkeypatch.setitem(sys.modules, "resource", None)  # como no Windows
    maquina.permitir_descritores(quantos)


@pytest.fixture
def threads(monkeypatch):
    """Um processo de faz de conta, com quatro núcleos: `threads.ha` é quantas há, e `threads.onde`, onde as puseram."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("o sistema não deixa escolher o núcleo")

    class Threads:
        ha, onde, calmas = 100, {}, {}

    def por(thread: int, nucleos: list[int]) -> None:
        if thread == 70:
            raise ProcessLookupError  # acabou entre a lista e o pedido
        Threads.onde[thread] = list(nucleos)

    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    monkeypatch.setattr(maquina.threading, "active_count", lambda: Threads.ha)
    monkeypatch.setattr(os, "listdir", lambda _: ["7", "70", "700"])
    monkeypatch.setattr(os, "sched_getaffinity", {0: {3, 1, 0, 2}}.get)
    monkeypatch.setattr(os, "sched_setaffinity", por)
    monkeypatch.setattr(os, "sched_setscheduler", lambda thread, *como: Threads.calmas.update({thread: como}))
    return Threads


def test_nucleos(threads):
    """Na multidão, todas as threads num núcleo só; de volta a poucas, em todos outra vez."""
    nucleos = maquina.Nucleos(True)
    threads.ha = nucleos.MULTIDAO
    nucleos.ajustar()
    assert threads.onde == {}
    threads.ha += 1
    nucleos.ajustar()
    calma = os.SCHED_BATCH, os.sched_param(0)
    assert threads.onde.keys() == {7, 700} and threads.calmas == dict.fromkeys((7, 700), calma)
    assert threads.onde[7] == threads.onde[700] and len(threads.onde[7]) == 1
    threads.onde.clear()
    nucleos.ajustar()
    assert threads.onde == {}, "as que nascem herdam a escolha"
    threads.ha -= 1
    nucleos.ajustar()
    assert threads.onde == dict.fromkeys((7, 700), [0, 1, 2, 3])


@casos("um_so, com_gil", {"nao-pedido": (False, True), "sem-a-gil": (True, False)})
def test_nucleos_onde_nao_se_escolhe(threads, monkeypatch, um_so, com_gil):
    """Sem o pedido, ou num Python sem GIL, nada muda."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: com_gil, raising=False)
    maquina.Nucleos(um_so).ajustar()
    assert threads.onde == {}


def test_nucleos_sem_proc(threads, monkeypatch, caplog):
    """Sem `/proc`, ou sem descritores para o ler, o servidor segue, e o diz uma vez."""
    monkeypatch.setattr(os, "listdir", lambda _: open(os.devnull + "/nada"))
    nucleos = maquina.Nucleos(True)
    for threads.ha in (100, 1, 100):
        nucleos.ajustar()
    (frase,) = [linha.getMessage() for linha in caplog.records]
    assert frase == "Sem ler /proc não se escolhe o núcleo das threads. Seguem como estão."
    assert threads.onde == {}


# --- O endereço -----------------------------------------------------------------------------------


@so_no_linux
def test_os_enderecos_das_interfaces(monkeypatch):
    """No Linux pergunta-se a cada interface, e a que não tem endereço não esconde as outras."""

    def ioctl(_: object, pedido: int, nome: bytes) -> bytes:
        if not nome.startswith(b"rede"):
            raise OSError
        assert pedido == 0x8915 and len(nome) == 256
        return bytes(20) + bytes([10, 9, 8, 7]) + bytes([1] * 232)

    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "sem"), (2, "rede")])
    monkeypatch.setattr(maquina.fcntl, "ioctl", ioctl)
    assert maquina._das_interfaces(None) == ["10.9.8.7"]


def test_os_enderecos_do_nome_da_maquina(monkeypatch):
    """Fora do Linux são os que o nome da máquina tem, se ele tem algum."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(socket, "gethostname", lambda: "casa")
    monkeypatch.setattr(socket, "gethostbyname_ex", lambda nome: (nome, [], ["10.9.8.7"]))
    assert maquina._das_interfaces(None) == ["10.9.8.7"]
    monkeypatch.setattr(socket, "gethostname", Mock(side_effect=OSError))
    assert maquina._das_interfaces(None) == []


# --- Os sinais e a janela -------------------------------------------------------------------------


@pytest.fixture
def sinais(monkeypatch):
    """Quem cuida de cada sinal, num sistema de mentira que não tem SIGBREAK e em que SIGHUP é ignorado."""
    de_quem = {signal.SIGINT: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL, 1: signal.SIG_IGN}
    monkeypatch.setattr(signal, "SIGHUP", 1, raising=False)
    monkeypatch.delattr(signal, "SIGBREAK", raising=False)
    monkeypatch.setattr(signal, "SIG_SETMASK", "só estes", raising=False)
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *como: de_quem.update(bloqueados=como), raising=False)
    monkeypatch.setattr(signal, "getsignal", de_quem.get)
    monkeypatch.setattr(signal, "signal", de_quem.__setitem__)
    return de_quem


def test_tratar_sinais(sinais, monkeypatch):
    """Cuida-se dos que há; o ignorado continua ignorado, e o bloqueado deixa de estar, onde se pode bloquear."""
    maquina.tratar_sinais("quem", *maquina.ENCERRAM)
    assert sinais == {signal.SIGINT: "quem", signal.SIGTERM: "quem", 1: signal.SIG_IGN, "bloqueados": ("só estes", ())}
    monkeypatch.delattr(signal, "pthread_sigmask")
    maquina.tratar_sinais("outro", "SIGINT")
    assert sinais[signal.SIGINT] == "outro"


@casos("qual, erro, codigo", {"ctrl-c": ("SIGINT", KeyboardInterrupt, 0), "kill": ("SIGTERM", SystemExit, 143)})
def test_ouvir_o_que_encerra(sinais, monkeypatch, qual, erro, codigo):
    """O primeiro sinal encerra e cala os seguintes; se a saída está parada, em dois segundos o programa acaba."""
    no_fim, demora = Mock(), Mock(daemon=False)
    monkeypatch.setattr(maquina.atexit, "register", no_fim)
    monkeypatch.setattr(maquina.threading, "Timer", Mock(return_value=demora))
    maquina.ouvir_o_que_encerra()
    with pytest.raises(erro) as fim:
        sinais[signal.SIGTERM](getattr(signal, qual), None)
    assert codigo == 0 or fim.value.code == codigo
    assert sinais[signal.SIGINT] == sinais[signal.SIGTERM] == signal.SIG_IGN
    maquina.threading.Timer.assert_called_once_with(2.0, os._exit, [codigo])
    assert demora.daemon and demora.start.called
    no_fim.assert_called_once_with(os._exit, codigo)


@cada("sistema", "nt", "posix")
def test_ao_fechar_a_janela(monkeypatch, sistema):
    """No Windows, fechar a janela, a sessão ou a máquina encerra, e espera-se que se encerre; o resto não é conosco."""
    encerrar, ctypes, espera, guardados = Mock(), Mock(), Mock(), []
    ctypes.WINFUNCTYPE.return_value = lambda tratar: tratar
    monkeypatch.setitem(sys.modules, "ctypes", ctypes)
    monkeypatch.setattr(maquina, "_tratadores", guardados)
    monkeypatch.setattr(maquina.threading, "Event", lambda: espera)
    with monkeypatch.context() as no_sistema:
        no_sistema.setattr(os, "name", sistema)
        maquina.ao_fechar_a_janela(encerrar)
    if sistema == "posix":
        assert not guardados and not ctypes.mock_calls
        return
    (tratar,) = guardados
    ctypes.WINFUNCTYPE.assert_called_once_with(ctypes.c_int, ctypes.c_uint)
    ctypes.windll.kernel32.SetConsoleCtrlHandler.assert_called_once_with(tratar, 1)
    assert [motivo for motivo in range(8) if tratar(motivo) == 1] == [2, 5, 6]
    assert tratar(0) == 0 and encerrar.call_count == 3
    espera.wait.assert_called_with(10.0)
