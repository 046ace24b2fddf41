"""Programas rodando de verdade, num pseudoterminal ou por pipe, lidos como uma pessoa os leria.

Nenhum teste dorme: o que aparece na tela é a sincronização. Lê-se até ver o que se espera, com prazo.
"""

import codecs
import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

from participante import PRAZO

RAIZ = Path(__file__).parent.parent

ENTER, BACKSPACE, CTRL_A, CTRL_C, CTRL_D, CTRL_U = "\r\x7f\x01\x03\x04\x15"
HOME, FIM_DA_LINHA, ESQUERDA = "\x1b[H", "\x1b[F", "\x1b[D"

# O que mudaria o que os programas mostram, na máquina de quem roda os testes.
_ALHEIAS = {"COLUMNS", "LINES", "NO_COLOR", "FILA_SENHA", "PYTHONUNBUFFERED"}
_AMBIENTE = {nome: valor for nome, valor in os.environ.items() if nome not in _ALHEIAS}
_AMBIENTE |= {"TERM": "xterm", "LC_ALL": "C.UTF-8", "INPUTRC": os.devnull}


# --- O que se vê --------------------------------------------------------------------------------

_PECAS = re.compile(r"\x1b(?:\[\??(?P<valor>[\d;]*))?(?P<acao>[78@-~])|(?P<letra>.)", re.DOTALL)
_SEM_EFEITO = "mhl"  # cores e modos, como o da colagem entre marcas: não mudam o que está escrito


def desenhar(saida: str, colunas: int) -> list[str]:
    """As linhas da tela de um terminal depois de receber `saida`, sem os espaços do fim.

    É o bastante de um terminal para estes programas: a tela não tem altura, logo nunca rola. Como no
    xterm, uma letra na última coluna deixa o cursor sobre ela, e só a seguinte muda de linha.
    """
    tela, y, x, guardado = [[" "] * colunas], 0, 0, (0, 0)
    for peca in _PECAS.finditer(re.sub(r"\x1b(\[\??[\d;]*)?$", "", saida)):  # sem a sequência pela metade
        valor, acao, letra = peca.group("valor", "acao", "letra")
        if letra and letra >= " ":
            largura = _largura(letra)
            if x + largura > colunas:
                y, x = y + 1, 0
            if y == len(tela):
                tela.append([" "] * colunas)
            if largura == 0:
                tela[y][max(0, x - 1)] += letra
            else:
                tela[y][x : x + largura] = [letra, ""][:largura]
            x += largura
            continue
        x = min(x, colunas - 1)
        numero = int(valor) if valor and valor.isdigit() else 0
        match acao or letra:
            case "\r":
                x = 0
            case "\n":
                y += 1
            case "\b":
                x = max(0, x - 1)
            case "A":
                y = max(0, y - max(1, numero))
            case "B":
                y += max(1, numero)
            case "7":
                guardado = y, x
            case "8":
                y, x = guardado
            case "C":
                x = min(colunas - 1, x + max(1, numero))
            case "K":
                inicio = 0 if numero == 2 else x
                tela[y][inicio:] = [" "] * (colunas - inicio)
            case "J":
                tela[y:] = [tela[y][:x] + [" "] * (colunas - x)]
            case "@":
                tela[y][x:] = ([" "] * max(1, numero) + tela[y][x:])[: colunas - x]
            case "P":
                tela[y][x:] = (tela[y][x + max(1, numero) :] + [" "] * colunas)[: colunas - x]
            case acao if acao not in _SEM_EFEITO + "\a":
                raise ValueError(f"a tela não conhece {peca.group()!r}")
        while y >= len(tela):
            tela.append([" "] * colunas)
    return "\n".join("".join(linha).rstrip() for linha in tela).rstrip("\n").split("\n")


def _largura(letra: str) -> int:
    if unicodedata.category(letra) in ("Mn", "Me", "Cf"):  # acentos soltos e o ZWJ que une emojis
        return 0
    return 2 if unicodedata.east_asian_width(letra) in "WF" else 1


# --- Quem escreve -------------------------------------------------------------------------------


class Leitor:
    """Lê um descritor até aparecer o que se espera; guarda tudo em `saida`."""

    def __init__(self, descritor: int) -> None:
        self.descritor = descritor
        self.saida = ""
        self._decodificar = codecs.getincrementaldecoder("utf-8")("replace").decode

    def __enter__(self):
        return self

    @property
    def tela(self) -> str:
        """O que uma pessoa vê."""
        return self.saida

    def espera_na_tela(self, texto: str) -> str:
        """Lê até `texto` estar na tela; devolve a tela."""
        return self._le_ate(lambda: texto in self.tela, texto)

    def espera_tela(self, texto: str) -> None:
        """Lê até a tela ser exatamente `texto`."""
        self._le_ate(lambda: self.tela == texto, texto)

    def _le_ate(self, visto: Callable[[], bool], esperado: str) -> str:
        limite = time.monotonic() + PRAZO
        while not visto():
            assert self._le(limite), f"esperava ver:\n{esperado}\n\ne acabou vendo:\n{self.tela}"
        return self.tela

    def _le(self, limite: float) -> bool:
        """Lê o que houver; `False` no fim da saída ou do prazo."""
        if not select.select([self.descritor], [], [], max(0.0, limite - time.monotonic()))[0]:
            return False
        try:
            dados = os.read(self.descritor, 65536)
        except OSError:  # EIO: ninguém mais tem o terminal aberto; ECONNRESET: o outro caiu
            return False
        self.saida += self._decodificar(dados)
        return bool(dados)


class Conexao(Leitor):
    """O outro lado da conversa, sem programa nenhum: um socket, como o de quem usa `nc`."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.fileno())
        self.sock = sock

    def envia(self, texto: str | bytes) -> None:
        self.sock.sendall(texto if isinstance(texto, bytes) else f"{texto}\n".encode())

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class Programa(Leitor):
    """Um programa do projeto que recebe `entrada` por um pipe e escreve, erros inclusive, em outro."""

    def __init__(self, *argumentos: str, entrada: bytes = b"", ambiente: Mapping[str, str] = {}) -> None:
        saida, escrita = os.pipe()
        self._inicia(argumentos, ambiente, stdin=subprocess.PIPE, stdout=escrita, stderr=escrita)
        os.close(escrita)
        super().__init__(saida)
        self.processo.stdin.write(entrada)
        self.processo.stdin.close()

    def _inicia(self, argumentos: tuple[str, ...], ambiente: Mapping[str, str], **opcoes: object) -> None:
        comando = [sys.executable, *argumentos]
        self.processo = subprocess.Popen(comando, cwd=RAIZ, env=_AMBIENTE | ambiente, bufsize=0, **opcoes)

    def espera_fim(self, codigo: int = 0) -> str:
        """Lê até o programa terminar por si, com `codigo` e sem traceback; devolve a tela."""
        limite = time.monotonic() + PRAZO
        while self._le(limite):
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.processo.wait(max(0.1, limite - time.monotonic()))
        assert self.processo.returncode == codigo, f"terminou com {self.processo.returncode}:\n{self.tela}"
        assert "Traceback" not in self.saida, self.tela
        return self.tela

    def __exit__(self, *_: object) -> None:
        self.processo.kill()
        self.processo.wait()
        with contextlib.suppress(OSError):  # a janela já foi fechada
            os.close(self.descritor)


class NoTerminal(Programa):
    """Um programa do projeto num terminal só dele, com `colunas` de largura."""

    def __init__(self, *argumentos: str, colunas: int = 80, ambiente: Mapping[str, str] = {}) -> None:
        self.colunas = colunas
        terminal, do_programa = os.openpty()
        fcntl.ioctl(do_programa, termios.TIOCSWINSZ, struct.pack("4H", 24, colunas, 0, 0))
        self._atributos = termios.tcgetattr(terminal)
        fluxos = dict.fromkeys(("stdin", "stdout", "stderr"), do_programa)
        self._inicia(argumentos, ambiente, **fluxos, start_new_session=True, preexec_fn=_adotar_terminal)
        os.close(do_programa)
        Leitor.__init__(self, terminal)

    @property
    def tela(self) -> str:
        return "\n".join(desenhar(self.saida, self.colunas))

    def digita(self, teclas: str) -> None:
        os.write(self.descritor, teclas.encode())

    def espera_tela(self, texto: str) -> None:
        """Lê até a tela ser exatamente `texto`, quebrado onde o terminal o quebraria."""
        super().espera_tela("\n".join(desenhar(texto.replace("\n", "\r\n"), self.colunas)))

    def espera_no_fim(self, *linhas: str) -> None:
        """Lê até as últimas linhas da tela serem estas, sem contar os espaços do fim."""
        fim = [linha.rstrip() for linha in linhas]
        self._le_ate(lambda: self.tela.split("\n")[-len(fim) :] == fim, "\n".join(fim))

    def espera_que_durma(self) -> None:
        """Espera que todas as threads do programa estejam paradas. Só o Linux sabe dizer.

        Um sinal que chega depois do prompt e antes do `select` do readline não o acorda: sem isto, um
        Ctrl+C digitado assim que o prompt aparece dependeria de sorte.
        """
        limite = time.monotonic() + PRAZO
        while not all(estado == "S" for estado in _estados(self.processo.pid)):
            assert time.monotonic() < limite, f"o programa não para:\n{self.tela}"

    def espera_fim(self, codigo: int = 0) -> str:
        tela = super().espera_fim(codigo)
        assert termios.tcgetattr(self.descritor) == self._atributos, "o terminal não voltou a ser o que era"
        return tela

    def fecha_janela(self) -> None:
        os.close(self.descritor)


def _estados(pid: int) -> list[str]:
    """O estado de cada thread do processo, como o `ps` o mostra: "R", "S", "D"..."""
    return [arquivo.read_text().rpartition(") ")[2][0] for arquivo in Path(f"/proc/{pid}/task").glob("*/stat")]


def _adotar_terminal() -> None:
    """No processo novo: o terminal passa a ser o dele, e Ctrl+C ali vira SIGINT."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def executa(*argumentos: str) -> tuple[int, str, str]:
    """Um programa que termina logo: o código, a saída e os erros."""
    opcoes = {"cwd": RAIZ, "env": _AMBIENTE, "stdin": subprocess.DEVNULL, "encoding": "utf-8", "timeout": PRAZO}
    fim = subprocess.run([sys.executable, *argumentos], capture_output=True, **opcoes)
    return fim.returncode, fim.stdout, fim.stderr
