"""O que muda de um sistema para outro: esperas, opções de um socket, descritores e núcleos.

Só aqui se pergunta o que o sistema tem. Os outros módulos chamam estas funções e funcionam em todos.
"""

import atexit
import contextlib
import errno
import logging
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

if sys.platform == "linux":  # já: com os descritores esgotados, importar também falha
    import fcntl
    import termios

log = logging.getLogger("fila")

# --- Enviar e esperar -----------------------------------------------------------------------------

SEM_ESPERA = getattr(socket, "MSG_DONTWAIT", 0)
"""O que passar a um `send` ou `recv` que não pode esperar.

Onde não existe (no Windows), o socket inteiro é posto para não bloquear, e espera-se por ele antes de ler. É também
onde `shutdown` de uma thread não acorda o `recv` de outra: a espera tem de ser curta, para conferir.
"""


def esperar_leitura(sock: socket.socket, segundos: float) -> bool:
    """Espera que haja o que ler, ou que o fluxo acabe; `False` se passaram `segundos` antes."""
    return _esperar(sock, False, segundos)


def esperar_escrita(sock: socket.socket, segundos: float) -> bool:
    """Espera que o outro tenha onde receber, ou que a conexão caia; `False` se passaram `segundos` antes."""
    return _esperar(sock, True, segundos)


def esperar_fim(sock: socket.socket, segundos: float) -> bool:
    """Espera que o outro feche, sem ler o que mandou antes; `False` se passaram `segundos` antes.

    Onde o sistema não sabe dizer isso, só se descobre se não mandou mais nada.
    """
    if not hasattr(select, "POLLRDHUP"):
        time.sleep(segundos)
        try:
            return not sock.recv(1, socket.MSG_PEEK | SEM_ESPERA)
        except BlockingIOError:
            return False
        except OSError:
            return True
    espera = select.poll()
    espera.register(sock, select.POLLRDHUP)
    return bool(espera.poll(segundos * 1000))


def _esperar(sock: socket.socket, escrita: bool, segundos: float) -> bool:
    try:
        if not hasattr(select, "poll"):
            sockets = [sock]
            prontos = select.select([] if escrita else sockets, sockets if escrita else [], [], segundos)
            return bool(prontos[0] or prontos[1])
        # `select` não aceita descritores acima de 1023; `poll` aceita qualquer um.
        espera = select.poll()
        espera.register(sock, select.POLLOUT if escrita else select.POLLIN)
        return bool(espera.poll(segundos * 1000))
    except (OSError, ValueError):  # o socket foi fechado: quem esperava por ele vai descobrir
        return True


# --- O socket de uma conexão ----------------------------------------------------------------------

# Quem some sem fechar (o cabo saiu, a tampa fechou) é descoberto em cerca de um minuto: 30 s de
# silêncio e três perguntas com 10 s entre elas. O último item vale quando há linhas que o outro não
# confirma, caso em que o Linux não pergunta: só retransmite, por um quarto de hora.
KEEPALIVE = {
    "TCP_KEEPIDLE": 30,  # segundos; no macOS, TCP_KEEPALIVE
    "TCP_KEEPALIVE": 30,
    "TCP_KEEPINTVL": 10,  # segundos
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,  # milissegundos
}


def ajustar_socket(sock: socket.socket, buffer_de_envio: int) -> None:
    """Sem Nagle, com keepalive, e com `buffer_de_envio` bytes no kernel para quem lê devagar."""
    opcoes = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_de_envio),
    ]
    opcoes += [
        (socket.IPPROTO_TCP, getattr(socket, nome), valor) for nome, valor in KEEPALIVE.items() if hasattr(socket, nome)
    ]
    for opcao in opcoes:
        # Cada uma por si: há sistemas que recusam alguma, e numa conexão já desfeita, todas.
        with contextlib.suppress(OSError):
            sock.setsockopt(*opcao)
    if not SEM_ESPERA:
        sock.setblocking(False)


def por_confirmar(sock: socket.socket) -> int:
    """Bytes que o kernel aceitou de nós e o do outro ainda não confirmou; 0 onde não há como saber."""
    if sys.platform != "linux":
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:  # a conexão já se desfez
        return 0


def reservar_porta(sock: socket.socket) -> None:
    """No Windows, impede que outro processo tome a porta em que `sock` vai escutar."""
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)


# --- O endereço -----------------------------------------------------------------------------------

SIOCGIFADDR = 0x8915
"""O pedido do Linux que dá o endereço de uma interface; está em `netdevice(7)`."""


def endereco_na_rede() -> str | None:
    """O endereço pelo qual as outras máquinas veem esta, ou `None` se não há rede."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with contextlib.suppress(OSError):  # um switch de laboratório não tem rota para fora
            sock.connect(("192.0.2.1", 9))  # UDP: só escolhe a rota, nada é enviado
            return sock.getsockname()[0]
        enderecos = _das_interfaces(sock)
    return next((endereco for endereco in enderecos if not endereco.startswith("127.")), None)


def _das_interfaces(sock: socket.socket) -> list[str]:
    """Os endereços desta máquina; fora do Linux, os que o nome dela tem."""
    if sys.platform != "linux":
        try:
            return socket.gethostbyname_ex(socket.gethostname())[2]
        except OSError:
            return []
    enderecos = []
    for _, nome in socket.if_nameindex():
        with contextlib.suppress(OSError):  # a interface não tem endereço
            pergunta = struct.pack("256s", nome.encode())
            enderecos.append(socket.inet_ntoa(fcntl.ioctl(sock, SIOCGIFADDR, pergunta)[20:24]))
    return enderecos


def motivo_de_nao_abrir(erro: OSError | UnicodeError, host: str, porta: int) -> str:
    """O erro do sistema, em português e com o que fazer."""
    if isinstance(erro, (socket.gaierror, UnicodeError)):  # este, de um nome que nem se pode procurar
        return f"o nome {host} não foi encontrado. Confira o valor de --host."
    if getattr(erro, "winerror", None) == 10013:  # no Windows, a porta de outro servidor também é "sem permissão"
        return f"a porta {porta} está em uso, ou reservada. Feche o outro servidor ou escolha outra com --porta."
    match erro.errno:
        case errno.EADDRINUSE:
            return f"a porta {porta} já está em uso. Feche o outro servidor ou escolha outra com --porta."
        case errno.EACCES:
            return f"sem permissão para usar a porta {porta}. Escolha uma acima de 1023 com --porta."
    return f"o endereço {host} não é desta máquina. Confira o valor de --host."


# --- O arquivo ------------------------------------------------------------------------------------


def so_para_o_dono(caminho: str, modo: int) -> int:
    """Abre o arquivo e, se o cria, ninguém mais pode lê-lo.

    Só no POSIX: no Windows as permissões são as da pasta, e o número é ignorado.
    """
    return os.open(caminho, modo, 0o600)


def mesmo_arquivo(um: os.stat_result, outro: os.stat_result) -> bool:
    """Se os dois são do mesmo arquivo.

    No Windows, de um caminho e do arquivo que se abriu nele, sempre: quem tem um arquivo aberto não deixa que outro
    programa o mova ou apague. E ali o número de um arquivo não existe em todo disco.
    """
    return os.name == "nt" or os.path.samestat(um, outro)


# --- Os sinais e a janela -------------------------------------------------------------------------


def tratar_sinais(tratar: Callable[[int, object], object] | signal.Handlers, *nomes: str) -> None:
    """`tratar` passa a cuidar dos sinais com estes nomes, se o sistema os tem. Só na thread principal.

    O que quem nos lançou bloqueou deixa de estar bloqueado; o que ele mandou ignorar (`nohup`) continua ignorado.
    """
    for nome in nomes:
        sinal = getattr(signal, nome, None)
        if sinal is not None and signal.getsignal(sinal) is not signal.SIG_IGN:
            signal.signal(sinal, tratar)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


ENCERRAM = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl+C, `kill`, a janela que se fecha, e o Ctrl+Break do Windows."""


ARRUMAR_EM = 2.0
"""Segundos que um programa tem para sair depois do sinal: a saída dele pode estar parada, e quem a espera, também."""


def ouvir_o_que_encerra() -> None:
    """O primeiro Ctrl+C levanta `KeyboardInterrupt`, e outro sinal que encerra, `SystemExit`; os seguintes, nada.

    Assim um segundo Ctrl+C não interrompe a arrumação que o primeiro começou.
    """

    def sair(sinal: int, _: object) -> None:
        ignorar_o_que_encerra()
        codigo = 0 if sinal == signal.SIGINT else 128 + sinal
        demora = threading.Timer(ARRUMAR_EM, os._exit, [codigo])
        demora.daemon = True
        demora.start()
        atexit.register(os._exit, codigo)  # nem o fim do interpretador, que a descarregaria, espera pela saída
        raise SystemExit(codigo) if codigo else KeyboardInterrupt

    tratar_sinais(sair, *ENCERRAM)


def ignorar_o_que_encerra() -> None:
    """Já se está encerrando."""
    tratar_sinais(signal.SIG_IGN, *ENCERRAM)


FECHAMENTOS = (2, 5, 6)
"""O que o Windows conta antes de acabar com um programa de console: fecharam a janela, a sessão ou a máquina."""


def ao_fechar_a_janela(encerrar: Callable[[], None]) -> None:
    """No Windows, chama `encerrar` quando a janela se fecha. Nos outros sistemas isso é um sinal, o SIGHUP."""
    if os.name != "nt":
        return
    import ctypes

    @ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)
    def tratar(motivo: int) -> int:
        if motivo not in FECHAMENTOS:
            return 0
        encerrar()
        # O processo acaba assim que esta função volta: espera-se que ele acabe antes, por si. O Windows dá 5 s.
        threading.Event().wait(10.0)
        return 1

    _tratadores.append(tratar)  # o Windows só guarda o endereço
    ctypes.windll.kernel32.SetConsoleCtrlHandler(tratar, 1)


_tratadores: list[object] = []


# --- O processo -----------------------------------------------------------------------------------


def permitir_descritores(quantos: int) -> None:
    """Pede ao sistema que deixe abrir `quantos` sockets, até onde ele permite."""
    try:
        import resource
    except ImportError:  # o Windows não tem este limite
        return
    atual, maximo = resource.getrlimit(resource.RLIMIT_NOFILE)
    if atual != resource.RLIM_INFINITY and atual < quantos:
        alvo = quantos if maximo == resource.RLIM_INFINITY else min(quantos, maximo)
        with contextlib.suppress(OSError, ValueError):  # o macOS anuncia um máximo que não concede
            resource.setrlimit(resource.RLIMIT_NOFILE, (alvo, maximo))


class Nucleos:
    """Onde rodam as threads do processo: num núcleo só quando são muitas, o remédio para o comboio da GIL.

    Uma thread por vez executa Python. Espalhadas, elas não andam mais rápido: passam o tempo acordando umas às
    outras de um núcleo para o outro. Um par só não forma comboio. Fora do Linux, e num Python sem GIL, nada se faz.
    """

    MULTIDAO = 8
    """Threads a partir das quais se usa um núcleo só: o bastante para mais de um par."""

    def __init__(self, um_so: bool) -> None:
        self._todos: list[int] = []  # vazia: não se pode, ou não adianta, escolher
        self._num_so = False
        if um_so and hasattr(os, "sched_setaffinity") and getattr(sys, "_is_gil_enabled", lambda: True)():
            self._todos = sorted(os.sched_getaffinity(0))

    def ajustar(self) -> None:
        """Junta as threads, ou as solta, se a quantidade delas o pede. As que nascerem depois herdam a escolha."""
        multidao = threading.active_count() > self.MULTIDAO
        if not self._todos or multidao == self._num_so:
            return
        self._num_so = multidao
        try:
            # Ao acaso: dois servidores na mesma máquina não escolhem sempre o mesmo.
            self._usar([random.choice(self._todos)] if multidao else self._todos)
        except OSError:  # ele não existe, ou faltam descritores para o abrir
            log.warning("Sem ler /proc não se escolhe o núcleo das threads. Seguem como estão.")
            self._todos = []

    @staticmethod
    def _usar(nucleos: list[int]) -> None:
        """Restringe aos `nucleos` as threads que há.

        `SCHED_BATCH`: uma thread que acorda não toma o núcleo da que tem a GIL, para então parar esperando por ela.
        """
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # a thread acabou, ou o sistema não deixa
                os.sched_setaffinity(int(thread), nucleos)
                os.sched_setscheduler(int(thread), os.SCHED_BATCH, os.sched_param(0))
