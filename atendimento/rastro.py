"""O rastro: o que cada thread recebe, envia e espera, à vista de uma sala inteira.

Nada no servidor sabe que está sendo observado. Com `--rastro` ele trabalha com sockets e com uma trava
que fazem o mesmo que os de verdade, e contam; sem a opção, com os de verdade.

    10:15:02.123  conexao-2 Yuri    <-                   b'[Yuri]: Ol\\xc3\\xa1!\\n'
    10:15:02.124  conexao-2 Yuri    ->  conexao-1 Ana    b'[Yuri]: Ol\\xc3\\xa1!\\n'
"""

import enum
import logging
import re
import shutil
import socket
import sys
import threading
import time

from atendimento.terminal import colorir, usar_cores
from protocolo import MAXIMO_DA_LINHA, SENHA_OCULTA, Json, Texto, Tipo, formato_de, limpar

log = logging.getLogger("fila.rastro")

PALETA = ("ciano", "amarelo", "verde", "magenta", "azul", "vermelho")
"""As cores das conexões, uma depois da outra."""

COLUNA = 20
"""Caracteres do nome de uma thread; o que passar é cortado."""

_LINHAS = re.compile(rb"[^\n]*\n|[^\n]+")

_OCULTA = SENHA_OCULTA.encode()
_CAMPO_SENHA = re.compile(rb'"senha"\s*:\s*"?((?:[^"\\\n]|\\.?)*)')  # e o valor, ainda que lhe falte o fim


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


class Vem(enum.Enum):
    """O que está para chegar por uma conexão, até passar pela senha."""

    TIPO = enum.auto()
    SENHA = enum.auto()
    JSON = enum.auto()  # em qualquer linha pode vir uma
    NADA = enum.auto()  # nada que se esconda


class Sigilo:
    """Esconde as senhas do que chega por uma conexão. `ha_senha` diz se o servidor as pergunta aos atendentes."""

    def __init__(self, ha_senha: bool) -> None:
        self._ha_senha = ha_senha
        self._vem = Vem.TIPO
        self._linha = b""  # o que já chegou da que ainda não acabou: um corte pode cair no meio da senha

    def ocultar(self, dados: bytes) -> bytes:
        """O que chegou, com `••••` no lugar de cada pedaço de uma senha."""
        return dados if self._vem is Vem.NADA else b"".join(map(self._pedaco, _LINHAS.findall(dados)))

    def _pedaco(self, pedaco: bytes) -> bytes:
        """Um pedaço de uma linha, ou ela inteira."""
        comeco, linha = len(self._linha), self._linha + pedaco
        acabou = pedaco.endswith(b"\n")
        if self._vem is Vem.TIPO and isinstance(formato_de(linha), Json):
            self._vem = Vem.JSON
        if self._vem is Vem.SENHA:
            pedaco = _OCULTA + b"\n" * acabou
        elif self._vem is Vem.JSON:
            pedaco = self._sem_o_campo(linha, comeco)
        if acabou:
            self._vem = self._depois_de(linha)
        self._linha = b"" if acabou else linha[-MAXIMO_DA_LINHA:]
        return pedaco

    def _depois_de(self, linha: bytes) -> Vem:
        if self._vem is not Vem.TIPO:
            return Vem.JSON if self._vem is Vem.JSON else Vem.NADA
        dito = limpar(linha.decode("utf-8", "replace")).removeprefix("\ufeff").strip()
        if not dito:
            return Vem.TIPO
        try:
            atende = Texto().ler_entrada(dito).tipo is Tipo.ATENDENTE
        except ValueError:
            atende = False
        return Vem.SENHA if atende and self._ha_senha else Vem.NADA

    @staticmethod
    def _sem_o_campo(linha: bytes, comeco: int) -> bytes:
        """O que vai de `comeco` ao fim da linha de JSON, sem o valor do campo `senha`."""
        visto = b""
        for achado in _CAMPO_SENHA.finditer(linha):
            de, ate = max(achado.start(1), comeco), achado.end(1)
            if de < ate:
                visto, comeco = visto + linha[comeco:de] + _OCULTA, ate
        return visto + linha[comeco:]


class SocketRastreado:
    """Um socket que conta o que recebe e o que envia, menos as senhas; no mais, é o que tem dentro."""

    def __init__(self, sock: socket.socket, rastro: Rastro, ha_senha: bool = False) -> None:
        self._sock = sock
        self._rastro = rastro
        self._sigilo = Sigilo(ha_senha)
        self._dona: threading.Thread | None = None  # a única que o lê, e por isso a primeira a lê-lo

    def __getattr__(self, nome: str) -> object:
        return getattr(self._sock, nome)

    def recv(self, maximo: int, *opcoes: int) -> bytes:
        dados = self._sock.recv(maximo, *opcoes)
        self._dona = self._dona or threading.current_thread()
        de_outra = self._nome() if threading.current_thread() is not self._dona else ""
        self._rastro.contar("<-", de_outra, self._sigilo.ocultar(dados), "" if dados else "o outro fechou")
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
    """Os bytes como o Python os escreve, em até `cabem` colunas; no lugar de uma senha, o que se vê é `••••`."""
    escrita = repr(linha).replace(repr(_OCULTA)[2:-1], SENHA_OCULTA)
    if len(escrita) <= cabem:
        return escrita
    fim = f"… {len(linha)} bytes"
    return escrita[: max(0, cabem - len(fim))] + fim


def _hora() -> str:
    agora = time.time()
    return f"{time.strftime('%H:%M:%S', time.localtime(agora))}.{int(agora % 1 * 1000):03}"
