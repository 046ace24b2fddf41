"""O rastro: o que cada thread recebe, envia e espera, à vista de uma sala inteira.

Nada no servidor sabe que está sendo observado. Com `--rastro` ele trabalha com sockets e com uma trava
que fazem o mesmo que os de verdade, e contam; sem a opção, com os de verdade.

    10:15:02.123  conexao-2 Yuri    <-                   b'[Yuri]: Ol\\xc3\\xa1!\\n'
    10:15:02.124  conexao-2 Yuri    ->  conexao-1 Ana    b'[Yuri]: Ol\\xc3\\xa1!\\n'
"""

import logging
import re
import shutil
import socket
import sys
import threading
import time

from atendimento.terminal import colorir, usar_cores

log = logging.getLogger("fila.rastro")

PALETA = ("ciano", "amarelo", "verde", "magenta", "azul", "vermelho")
"""As cores das conexões, uma depois da outra."""

COLUNA = 20
"""Caracteres do nome de uma thread; o que passar é cortado."""

_LINHAS = re.compile(rb"[^\n]*\n|[^\n]+")


class Rastro:
    """Conta no log o que passa pelos sockets e pela trava que rastreia."""

    def __init__(self) -> None:
        self._cores = usar_cores(sys.stdout)

    def contar(self, sentido: str, outro: str, dados: bytes, nota: str = "") -> None:
        """Um `recv` ou um `send` desta thread: cada linha que ele trouxe ou levou, e a meia que sobrar."""
        quem = threading.current_thread().name
        linhas = _LINHAS.findall(dados)
        if len(linhas) > 1:
            nota = f"{len(linhas)} linhas de uma vez"
        if dados and not dados.endswith(b"\n"):
            nota = f"{nota}; a última, pela metade" if nota else "meia linha"
        hora = _hora()
        comeco = f"{hora}  {self._nome(quem)}{sentido}  {self._nome(outro)}"
        margem = " " * (len(hora) + len(sentido) + 2 * COLUNA + 4)
        cabem = shutil.get_terminal_size((10**6, 0)).columns - len(margem) if sys.stdout.isatty() else 10**6
        mostradas = [colorir(_cortada(linha, cabem), self._cor(outro or quem), self._cores) for linha in linhas]
        if nota:
            mostradas.append(f"({nota})")
        log.info("%s", comeco + f"\n{margem}".join(mostradas))

    def esperou(self, segundos: float, quem_a_tinha: str) -> None:
        """Esta thread quis a trava e teve de esperar por ela."""
        quem = threading.current_thread().name
        espera = f"{segundos * 1000:.1f} ms".replace(".", ",")
        log.info("%s", f"{_hora()}  {self._nome(quem)}..  esperou {espera} pela trava, que estava com {quem_a_tinha}")

    def _nome(self, thread: str) -> str:
        """O nome de uma thread na sua coluna e na sua cor."""
        return colorir(f"{thread[: COLUNA - 1]:{COLUNA}}", self._cor(thread), self._cores)

    @staticmethod
    def _cor(thread: str) -> str | None:
        """A cor de uma conexão, pelo seu número: é a mesma antes e depois de se saber o nome de quem fala."""
        conexao = re.match(r"conexao-(\d+)", thread)
        return PALETA[int(conexao[1]) % len(PALETA)] if conexao else None


class SocketRastreado:
    """Um socket que conta o que recebe e o que envia; no mais, é o que tem dentro."""

    def __init__(self, sock: socket.socket, rastro: Rastro) -> None:
        self._sock = sock
        self._rastro = rastro
        self._dona: threading.Thread | None = None  # a única que o lê, e por isso a primeira a lê-lo

    def __getattr__(self, nome: str) -> object:
        return getattr(self._sock, nome)

    def recv(self, maximo: int, *opcoes: int) -> bytes:
        dados = self._sock.recv(maximo, *opcoes)
        self._dona = self._dona or threading.current_thread()
        de_outra = self._nome() if threading.current_thread() is not self._dona else ""
        self._rastro.contar("<-", de_outra, dados, "" if dados else "o outro fechou")
        return dados

    def send(self, dados: bytes, *opcoes: int) -> int:
        quantos = self._sock.send(dados, *opcoes)
        self._rastro.contar("->", self._nome(), dados[:quantos])
        return quantos

    def shutdown(self, como: int) -> None:
        self._sock.shutdown(como)
        self._rastro.contar("->", self._nome(), b"", "fim do fluxo")

    def _nome(self) -> str:
        return self._dona.name if self._dona else "recém-chegado"


class TravaRastreada:
    """Uma trava que conta quem teve de esperar por ela. O que muda aqui, ela mesma guarda."""

    def __init__(self, rastro: Rastro) -> None:
        self._rastro = rastro
        self._trava = threading.Lock()
        self._dona = ""  # o nome da thread que a tem
        self._espera: tuple[float, str] | None = None  # da thread que a tem: segundos, e por quem

    def acquire(self) -> None:
        if not self._trava.acquire(blocking=False):
            comeco, quem_a_tinha = time.perf_counter(), self._dona
            self._trava.acquire()
            self._espera = time.perf_counter() - comeco, quem_a_tinha
        self._dona = threading.current_thread().name

    def release(self) -> None:
        espera, self._espera = self._espera, None
        self._trava.release()
        if espera:  # só depois de a soltar: escrever no log com ela na mão faria os outros esperarem mais
            self._rastro.esperou(*espera)

    def locked(self) -> bool:
        return self._trava.locked()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def _cortada(linha: bytes, cabem: int) -> str:
    """Os bytes como o Python os escreve, em até `cabem` colunas."""
    escrita = repr(linha)
    if len(escrita) <= cabem:
        return escrita
    fim = f"… {len(linha)} bytes"
    return escrita[: max(0, cabem - len(fim))] + fim


def _hora() -> str:
    agora = time.time()
    return f"{time.strftime('%H:%M:%S', time.localtime(agora))}.{int(agora % 1 * 1000):03}"
