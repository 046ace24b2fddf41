"""De onde vem o que se digita no Windows: o console, ou um pipe. A mesma interface do POSIX, em `teclado.py`."""

import codecs
import ctypes
import msvcrt
import os
import re
import time
from ctypes import wintypes

from atendimento.maquina import ignorar_o_que_encerra, ouvir_o_que_encerra
from atendimento.teclado import Entrada
from atendimento.teclas import COLAGEM, FIM_DA_COLAGEM

_ENTER = re.compile(r"[\r\n]")
_SEQUENCIAS = {0x25: "\x1b[D", 0x26: "\x1b[A", 0x27: "\x1b[C", 0x28: "\x1b[B"}
_SEQUENCIAS |= {0x24: "\x1b[H", 0x23: "\x1b[F", 0x2E: "\x1b[3~"}


class _EventoDoConsole(ctypes.Structure):
    """O `INPUT_RECORD` de uma tecla."""

    _fields_ = [
        ("tipo", wintypes.WORD),
        ("apertada", wintypes.BOOL),
        ("repete", wintypes.WORD),
        ("tecla", wintypes.WORD),
        ("_fisica", wintypes.WORD),
        ("letra", wintypes.WORD),
        ("controles", wintypes.DWORD),
    ]


class EntradaWindows(Entrada):
    """Um console, um pipe ou um arquivo. Nada acorda quem espera pelos dois: confere-se a cada 50 ms."""

    CONFERIR_A_CADA = 0.05
    RESTO_DA_COLAGEM = 10
    """Milissegundos em que o console ainda entrega o que se colou."""

    def __init__(self, descritor: int, terminal: bool) -> None:
        self.terminal = terminal
        self._descritor = descritor
        self._decodificar = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._juntar = codecs.getincrementaldecoder("utf-16-le")("replace").decode  # um emoji são duas teclas
        self._acordada = False
        self._sistema = ctypes.WinDLL("kernel32")
        self._entrada = wintypes.HANDLE(msvcrt.get_osfhandle(descritor))
        self._saida = wintypes.HANDLE(self._sistema.GetStdHandle(-11))

    def abrir(self) -> None:
        if self.terminal:
            self._modos = [(console, self._modo(console)) for console in (self._entrada, self._saida)]
            # Com as sequências de escape ligadas, e a última coluna como a do xterm.
            self._sistema.SetConsoleMode(self._saida, self._modos[1][1] | 0x0001 | 0x0004 | 0x0008)
            self.atenta(False)
        ouvir_o_que_encerra()

    def _modo(self, console: wintypes.HANDLE) -> int:
        modo = wintypes.DWORD()
        self._sistema.GetConsoleMode(console, ctypes.byref(modo))
        return modo.value

    def fechar(self) -> None:
        ignorar_o_que_encerra()
        if self.terminal:
            self._sistema.FlushConsoleInputBuffer(self._entrada)
            for console, modo in self._modos:
                self._sistema.SetConsoleMode(console, modo)

    def atenta(self, sim: bool) -> None:
        if self.terminal:
            processa, linha_e_eco, avisa_janela = 0x0001, 0x0006, 0x0008
            modo = self._modos[0][1] & ~(processa | linha_e_eco) | avisa_janela
            self._sistema.SetConsoleMode(self._entrada, modo if sim else modo | processa)

    def acordar(self) -> None:
        self._acordada = True

    def ler(self, prazo: float | None = None) -> str | None:
        limite = None if prazo is None else time.monotonic() + prazo
        while not self._ha_o_que_ler():
            if self._acordada or limite is not None and time.monotonic() > limite:
                self._acordada = False
                return ""
        if self.terminal:
            return self._ler_console()
        dados = os.read(self._descritor, 65536)
        return self._decodificar(dados) if dados else None

    def _ha_o_que_ler(self) -> bool:
        """Espera um pouco por algo que ler. O fim de um pipe, e um arquivo, não precisam de espera."""
        if self.terminal:
            return self._sistema.WaitForSingleObject(self._entrada, int(self.CONFERIR_A_CADA * 1000)) == 0
        quantos = wintypes.DWORD()
        if self._sistema.PeekNamedPipe(self._entrada, None, 0, None, ctypes.byref(quantos), None) and not quantos.value:
            time.sleep(self.CONFERIR_A_CADA)
            return False
        return True

    def _ler_console(self) -> str:
        """O que as teclas que estão na fila escreveriam num terminal: daqui em diante é tudo igual."""
        texto = self._ler_fila()
        while _ENTER.search(texto) and self._sistema.WaitForSingleObject(self._entrada, self.RESTO_DA_COLAGEM) == 0:
            texto += self._ler_fila()
        # Ninguém digita depois de um Enter antes que se leia o Enter: é uma colagem.
        if _ENTER.search(texto.rstrip("\r\n")) and "\x1b" not in texto:
            return COLAGEM + texto + FIM_DA_COLAGEM
        return texto

    def _ler_fila(self) -> str:
        fila, lidos = (_EventoDoConsole * 512)(), wintypes.DWORD()
        self._sistema.ReadConsoleInputW(self._entrada, fila, len(fila), ctypes.byref(lidos))
        return "".join(self._escrito(evento) for evento in fila[: lidos.value])

    def _escrito(self, evento: _EventoDoConsole) -> str:
        if evento.tipo != 1 or not evento.apertada and not (evento.tecla == 0x12 and evento.letra):  # Alt+0233
            return ""  # o mouse, a janela que mudou: basta ter acordado
        ctrl, alt = evento.controles & 0x000C, evento.controles & 0x0003
        if evento.letra:
            letra = self._juntar(evento.letra.to_bytes(2, "little"))
            return ("\x1b" + letra if alt and not ctrl else letra) * max(1, evento.repete)
        sequencia = _SEQUENCIAS.get(evento.tecla, "")
        return sequencia.replace("[", "[1;5", 1) if ctrl and sequencia[-1:].isalpha() else sequencia
