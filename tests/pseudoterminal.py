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

ENTER, TAB, CTRL_A, CTRL_C, CTRL_D, CTRL_K, CTRL_L, CTRL_U, CTRL_Z = "\r\t\x01\x03\x04\x0b\x0c\x15\x1a"
CIMA, DIREITA, ESQUERDA = "\x1b[A", "\x1b[C", "\x1b[D"

# O que mudaria o que os programas mostram, na máquina de quem roda os testes.
_ALHEIAS = {"COLUMNS", "LINES", "NO_COLOR", "FILA_SENHA", "PYTHONUNBUFFERED"}
_AMBIENTE = {nome: valor for nome, valor in os.environ.items() if nome not in _ALHEIAS}
_AMBIENTE |= {"TERM": "xterm", "LC_ALL": "C.UTF-8"}


# --- O que se vê --------------------------------------------------------------------------------

_PECAS = re.compile(r"\x1b(?:\[\??(?P<valor>[\d;]*))?(?P<acao>[@-~])|(?P<ascii>[ -~]+)|(?P<letra>.)", re.DOTALL)
_SEM_EFEITO = "mhl"  # cores e modos, como o da colagem entre marcas: não mudam o que está escrito


class Emulador:
    """O bastante de um terminal para estes programas, com `altura` linhas na janela; o que rola para fora não se perde.

    Como no xterm, uma letra na última coluna deixa o cursor sobre ela, e só a seguinte muda de linha. Como no tmux e
    em quase todos, mudar a largura dobra de novo as linhas que o terminal dobrou.
    """

    def __init__(self, colunas: int, altura: int = 1_000_000) -> None:
        self.colunas, self.altura = colunas, altura
        self.tela = [self._vazia()]
        self.dobrou = [False]  # a linha continua na seguinte
        self.topo = self.y = self.x = 0  # o topo da janela; o cursor
        self._resto = ""  # uma sequência pela metade

    def _vazia(self) -> list[str]:
        return [" "] * self.colunas

    @property
    def linhas(self) -> list[str]:
        """O que se vê, também acima da janela, sem os espaços do fim."""
        return "\n".join("".join(linha).rstrip() for linha in self.tela).rstrip("\n").split("\n")

    @property
    def cursor(self) -> tuple[int, int]:
        """A linha, a partir do fim do que se vê, e a coluna."""
        return self.y - len(self.linhas), self.x

    def esquecer(self) -> None:
        """O que já rolou para fora da janela some."""
        del self.tela[: self.topo], self.dobrou[: self.topo]
        self.y, self.topo = self.y - self.topo, 0

    def redimensionar(self, colunas: int) -> None:
        """A largura muda: o que o terminal dobrou volta a ser uma linha, e ele a dobra de novo."""
        antigas, dobrou = [linha[: self.colunas] for linha in self.tela], self.dobrou
        cursor, self.colunas = (self.y, self.x), colunas
        self.tela, self.dobrou, self.topo, self.y = [], [], 0, 0
        inteira, no_cursor = [], None
        for y, (linha, continua) in enumerate(zip(antigas, dobrou)):
            if y == cursor[0]:
                no_cursor = len(inteira) + cursor[1]
            inteira += linha
            if not continua:
                self._por(inteira, no_cursor)
                inteira, no_cursor = [], None
        self.topo = max(0, len(self.tela) - self.altura)

    def _por(self, inteira: list[str], no_cursor: int | None) -> None:
        """Uma linha inteira, dobrada na largura de agora; o cursor estava na posição dada, se estava nela."""
        ate = max((n + 1 for n, celula in enumerate(inteira) if celula != " "), default=0)
        pedacos, atual = [], []
        for n, celula in enumerate(inteira[: max(ate, (no_cursor or 0) + 1)]):
            largura = 1 if n + 1 == len(inteira) or inteira[n + 1] != "" else 2
            if len(atual) + (largura if celula else 0) > self.colunas:
                pedacos.append(atual)
                atual = []
            if n == no_cursor:
                self.y, self.x = len(self.tela) + len(pedacos), len(atual)
            atual.append(celula)
        for numero, pedaco in enumerate([*pedacos, atual]):
            self.tela.append((pedaco + self._vazia())[: self.colunas])
            self.dobrou.append(numero < len(pedacos))

    def _descer(self) -> None:
        self.y += 1
        if self.y == len(self.tela):
            self.tela.append(self._vazia())
            self.dobrou.append(False)
        self.topo = max(self.topo, self.y - self.altura + 1)

    def receber(self, saida: str) -> None:
        saida = self._resto + saida
        self._resto = re.search(r"(\x1b(\[\??[\d;]*)?)?$", saida)[0]
        for peca in _PECAS.finditer(saida[: len(saida) - len(self._resto)]):
            valor, acao, ascii_, letra = peca.group("valor", "acao", "ascii", "letra")
            if ascii_:
                self._ascii(ascii_)
            elif letra and letra >= " ":
                self._letra(letra)
            else:
                self._acao(acao or letra, int(valor) if valor and valor.isdigit() else 0, peca.group())

    def _caber(self, largura: int) -> None:
        """O que não cabe no fim da linha vai para a seguinte."""
        if self.x + largura > self.colunas:
            self.dobrou[self.y] = True
            self._descer()
            self.x = 0

    def _ascii(self, texto: str) -> None:
        """Uma coluna por letra: quase tudo o que chega, e por isso de muitas em muitas."""
        while texto:
            self._caber(1)
            cabem, texto = texto[: self.colunas - self.x], texto[self.colunas - self.x :]
            self.tela[self.y][self.x : self.x + len(cabem)] = cabem
            self.x += len(cabem)

    def _letra(self, letra: str) -> None:
        largura = _largura(letra)
        self._caber(largura)
        linha = self.tela[self.y]
        if largura == 0:
            linha[max(0, self.x - 1)] += letra
        else:
            linha[self.x : self.x + largura] = [letra, ""][:largura]
        self.x += largura

    def _acao(self, acao: str, numero: int, peca: str) -> None:
        self.x = x = min(self.x, self.colunas - 1)
        linha = self.tela[self.y]
        match acao:
            case "\r":
                self.x = 0
            case "\n":
                self._descer()
            case "A":
                self.y = max(self.topo, self.y - max(1, numero))
            case "H":
                self.y, self.x = self.topo, 0
            case "K":
                linha[x:] = [" "] * (self.colunas - x)
            case "J" if numero == 2:
                self.tela[self.topo :] = [self._vazia() for _ in self.tela[self.topo :]]
                self.dobrou[self.topo :] = [False] * (len(self.tela) - self.topo)
            case "J":
                linha[x:] = [" "] * (self.colunas - x)
                del self.tela[self.y + 1 :], self.dobrou[self.y :]
                self.dobrou.append(False)
            case acao if acao not in _SEM_EFEITO + "\a":
                raise ValueError(f"a tela não conhece {peca!r}")


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
        chegou = self._decodificar(dados)
        self.saida += chegou
        self._recebeu(chegou)
        return bool(dados)

    def _recebeu(self, chegou: str) -> None:
        """Há mais saída."""


class Conexao(Leitor):
    """O outro lado da conversa, sem programa nenhum: um socket, como o de quem usa `nc`."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.fileno())
        self.sock = sock

    def envia(self, texto: str | bytes) -> None:
        self.sock.sendall(texto if isinstance(texto, bytes) else f"{texto}\n".encode())

    def sai(self, com_fim: bool) -> None:
        """Encerra a conversa, ou desliga; o que lhe mandarem ainda se lê."""
        if com_fim:
            self.envia("FIM:")
        self.sock.shutdown(socket.SHUT_WR)

    def espera_fim(self) -> str:
        """Lê até o outro fechar."""
        limite = time.monotonic() + PRAZO
        while self._le(limite):
            pass
        return self.saida

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class Programa(Leitor):
    """Um programa do projeto que recebe `entrada` por um pipe e escreve, erros inclusive, em outro."""

    # Só a biblioteca padrão lhes serve: sem procurar outras, começam antes.
    COMANDO = [sys.executable, "-S"]

    def __init__(self, *argumentos: str, entrada: bytes = b"", ambiente: Mapping[str, str] = {}) -> None:
        saida, escrita = os.pipe()
        self._inicia(argumentos, ambiente, stdin=subprocess.PIPE, stdout=escrita, stderr=escrita)
        os.close(escrita)
        super().__init__(saida)
        self.processo.stdin.write(entrada)
        self.processo.stdin.close()

    def _inicia(self, argumentos: tuple[str, ...], ambiente: Mapping[str, str], **opcoes: object) -> None:
        comando = [*self.COMANDO, *argumentos]
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
        self.emulador = Emulador(colunas, 24)
        terminal, do_programa = os.openpty()
        self._ajustar_janela(terminal)
        self._atributos = termios.tcgetattr(terminal)
        fluxos = dict.fromkeys(("stdin", "stdout", "stderr"), do_programa)
        self._inicia(argumentos, ambiente, **fluxos, start_new_session=True, preexec_fn=_adotar_terminal)
        os.close(do_programa)
        Leitor.__init__(self, terminal)

    @property
    def colunas(self) -> int:
        return self.emulador.colunas

    @property
    def tela(self) -> str:
        return "\n".join(self.emulador.linhas)

    def _recebeu(self, chegou: str) -> None:
        self.emulador.receber(chegou)

    def redimensiona(self, colunas: int) -> None:
        """A pessoa muda a largura da janela; o programa fica sabendo por um SIGWINCH."""
        self.emulador.redimensionar(colunas)
        self._ajustar_janela(self.descritor)

    def _ajustar_janela(self, terminal: int) -> None:
        tamanho = struct.pack("4H", self.emulador.altura, self.emulador.colunas, 0, 0)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, tamanho)

    def espera_cursor(self, linha: int, coluna: int) -> None:
        """Lê até o cursor estar na coluna, a tantas linhas do fim da tela (-1 é a última)."""
        self._le_ate(lambda: self.emulador.cursor == (linha, coluna), f"o cursor em {linha}, {coluna}")

    def digita(self, teclas: str) -> None:
        os.write(self.descritor, teclas.encode())

    def espera_tela(self, texto: str) -> None:
        """Lê até a tela ser exatamente `texto`, quebrado onde o terminal o quebraria."""
        desenho = Emulador(self.colunas)
        desenho.receber(texto.replace("\n", "\r\n"))
        super().espera_tela("\n".join(desenho.linhas))

    def espera_no_fim(self, *linhas: str) -> None:
        """Lê até as últimas linhas da tela serem estas, sem contar os espaços do fim."""
        fim = [linha.rstrip() for linha in linhas]
        self._le_ate(lambda: self.tela.split("\n")[-len(fim) :] == fim, "\n".join(fim))

    def espera_fim(self, codigo: int = 0) -> str:
        tela = super().espera_fim(codigo)
        assert termios.tcgetattr(self.descritor) == self._atributos, "o terminal não voltou a ser o que era"
        return tela

    def fecha_janela(self) -> None:
        os.close(self.descritor)


class NoShell(NoTerminal):
    """Um comando do `sh`, ou ele mesmo, num terminal."""

    COMANDO = ["sh"]


def _adotar_terminal() -> None:
    """No processo novo: o terminal passa a ser o dele, e Ctrl+C ali vira SIGINT."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
