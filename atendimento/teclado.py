"""De onde vem o que se digita, em cada sistema. Não sabe de tela, nem o que as teclas querem dizer.

Uma entrada (`EntradaPosix`, `EntradaWindows`, `Console`) bloqueia até haver o que ler ou até que outra thread a acorde.
Com um terminal, ela o põe no modo tecla a tecla, e o devolve como era aconteça o que acontecer.
"""

import codecs
import contextlib
import os
import select
import signal
import sys
from typing import TextIO

from atendimento.maquina import ignorar_o_que_encerra, ouvir_o_que_encerra, tratar_sinais
from atendimento.terminal import descritor, e_terminal

try:
    import termios
except ImportError:  # Windows
    termios = None


class Entrada:
    """De onde se lê. `terminal` diz se o que vem são teclas, e não linhas."""

    terminal = False

    def abrir(self) -> None:
        """Prepara o terminal, se é um."""

    def fechar(self) -> None:
        """Devolve o terminal como era; o que foi digitado e não se leu se perde."""

    def ler(self, prazo: float | None = None) -> str | None:
        """Bloqueia até haver texto; vazio se a acordaram ou se o prazo (segundos) venceu, `None` no fim da entrada."""
        raise NotImplementedError

    def acordar(self) -> None:
        """Faz `ler` voltar, se há como. Qualquer thread pode chamá-la."""

    def atenta(self, sim: bool) -> None:
        """Se `sim`, Ctrl+C é uma tecla como as outras; senão, interrompe o programa."""

    def suspender(self) -> None:
        """Para o programa, como o Ctrl+Z, se há como; volta quando alguém o continuar."""


class EntradaPosix(Entrada):
    """Um terminal, um pipe ou um arquivo: `select` nele e num pipe que acorda quem espera."""

    def __init__(self, descritor: int, terminal: bool) -> None:
        self.terminal = terminal
        self._descritor = descritor
        self._decodificar = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._sino, self._corda = os.pipe()  # quem puxa a corda escreve; o sino acorda `ler`
        self._a_ler = [descritor, self._sino]
        os.set_blocking(self._corda, False)

    def abrir(self) -> None:
        ouvir_o_que_encerra()
        if self.terminal:
            self._original = termios.tcgetattr(self._descritor)
            self.atenta(False)
            signal.set_wakeup_fd(self._corda, warn_on_full_buffer=False)  # qualquer sinal acorda `ler`
            tratar_sinais(self._continuar, "SIGCONT", "SIGWINCH")

    def fechar(self) -> None:
        ignorar_o_que_encerra()
        if self.terminal:
            signal.set_wakeup_fd(-1)
            self._modo = self._original  # a janela que ainda mudar de tamanho não o desfaz
            self._ajustar(self._modo, termios.TCSAFLUSH)
        os.close(self._sino)
        os.close(self._corda)

    def ler(self, prazo: float | None = None) -> str | None:
        prontos = select.select(self._a_ler, [], [], prazo)[0]
        if self._sino in prontos:
            os.read(self._sino, 4096)
        if self._descritor not in prontos:
            return ""
        try:
            dados = os.read(self._descritor, 65536)
        except OSError:
            dados = b""  # a janela se fechou
        if not dados:
            self._a_ler = [self._sino]  # daqui em diante só há por que acordar
        return self._decodificar(dados) if dados else None

    def acordar(self) -> None:
        with contextlib.suppress(OSError):  # cheio: já vai acordar; fechado: ninguém mais espera
            os.write(self._corda, b"!")

    def atenta(self, sim: bool) -> None:
        if self.terminal:
            modo = [*self._original]
            modo[0] &= ~termios.IXON  # Ctrl+S pararia a saída, e com ela quem a escreve
            modo[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
            modo[3] |= 0 if sim else termios.ISIG
            self._modo = modo
            self._ajustar(modo, termios.TCSANOW)

    def suspender(self) -> None:
        self._ajustar(self._original, termios.TCSADRAIN)
        os.kill(0, signal.SIGTSTP)  # todo o grupo, como faria o terminal; só se volta daqui com o SIGCONT
        self._ajustar(self._modo, termios.TCSADRAIN)

    def _ajustar(self, modo: list, quando: int) -> None:
        with contextlib.suppress(termios.error):  # a janela se fechou
            termios.tcsetattr(self._descritor, quando, modo)

    def _continuar(self, *_: object) -> None:
        self._ajustar(self._modo, termios.TCSANOW)


class Console(Entrada):
    """O IDLE e os parecidos: não são terminais, mas há uma pessoa. Só `input()` sabe lê-los, e nada o acorda."""

    def ler(self, prazo: float | None = None) -> str | None:
        try:
            # Sem uma saída, `input` também não lê.
            return input() + "\n" if sys.stdout else sys.stdin.readline() or None
        except (EOFError, ValueError, RuntimeError):  # acabou, ou alguém a fechou
            return None


def entrada_de(entrada: TextIO | None, saida: TextIO | None) -> Entrada:
    """A entrada que serve a estes fluxos: os do processo, ou os que uma IDE pôs no lugar."""
    numero = descritor(entrada)
    if entrada is None:
        numero = os.open(os.devnull, os.O_RDONLY)  # uma entrada que já acabou
    elif numero is None or not os.isatty(numero) and (entrada.isatty() or "PYCHARM_HOSTED" in os.environ):
        return Console()
    terminal = e_terminal(entrada) and e_terminal(saida)
    if termios:
        return EntradaPosix(numero, terminal)
    from atendimento.teclado_windows import EntradaWindows  # que só se importa lá

    return EntradaWindows(numero, terminal)
