"""A tela de quem conversa: uma mensagem que chega enquanto a pessoa digita não se mistura com a linha dela.

É o problema do "race condition no terminal" da seção 3 do relatório. A linha que se digita é nossa, e não do sistema:
quem escreve algo, seja que thread for, apaga a linha, escreve e a repõe, com a trava na mão.
"""

import collections
import contextlib
import enum
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from atendimento.linha import Linha, dobrar, dobrar_entre_palavras, largura_total
from atendimento.teclado import Console, entrada_de
from atendimento.teclas import DESLIGAR_COLAGEM, LIGAR_COLAGEM, Tecla, Teclas
from atendimento.terminal import aceitar_tudo, colorir, descritor, usar_cores

RECUO = "  "
"""O que é do programa (`***`, `(...)`) só aparece na coluna 0: a continuação de uma mensagem, nunca."""

NAO_ENVIADO = "(O que você escrevia não foi enviado. Enter chama o próximo; ↑ traz o texto de volta.)"
ENTER_FECHA = "(A conversa acabou; o que está escrito não foi enviado. Enter fecha.)"


class Acabou(enum.Enum):
    """O que a pessoa ainda não sabe que acabou."""

    NADA = enum.auto()
    CONVERSA = enum.auto()  # haverá outra
    TUDO = enum.auto()


class Tela:
    """O terminal de uma conversa, usado por duas threads: a principal lê, e as duas escrevem.

    Sem terminal (entrada ou saída por pipe, console de IDE): sem prompt e sem cores, uma linha por mensagem.
    """

    MAXIMO_SEM_PERGUNTAR = 5
    """Linhas coladas que vão com um Enter só."""

    def __init__(self, som: bool = True) -> None:
        aceitar_tudo(sys.stdin)
        aceitar_tudo(sys.stdout)
        self._saida = sys.stdout
        self._janela = descritor(sys.stdout)
        self._entrada = entrada_de(sys.stdin, sys.stdout)
        self.interativa = self._entrada.terminal
        self.ha_pessoa = self.interativa or isinstance(self._entrada, Console)
        self.recusa: Callable[[str], str] = lambda texto: ""  # por que um texto não pode ir, ou nada
        self._ansi = self.interativa and os.environ.get("TERM") != "dumb"
        # A cada desenho se liga a colagem entre marcas: quem nos parou e continuou pode tê-la desligado.
        self._ligar_colagem, self._desligar_colagem = (LIGAR_COLAGEM, DESLIGAR_COLAGEM) if self._ansi else ("", "")
        self._cores = self.interativa and usar_cores(sys.stdout)
        self._som = som and self.interativa
        self._teclas = Teclas()
        # Da thread principal: o que já se leu e ainda não se tratou, teclas ou, sem terminal, linhas.
        self._a_tratar: collections.deque[str] = collections.deque()
        self._pedaco = ""  # o começo de uma linha
        self._fim_da_entrada = False
        # A trava guarda a saída e tudo o que vem abaixo. Uma RLock: se um sinal interrompe a thread principal logo
        # depois de ela a tomar, ela sai com a trava na mão, e ao sair a toma de novo.
        self._trava = threading.RLock()
        self.par = ""  # com quem se conversa
        self._conversou = False
        self._acabou = Acabou.NADA
        self._fechando = False  # o próximo Enter fecha o programa
        self.linha = Linha()
        self._pergunta = ""  # no lugar do prompt
        self._oculta = False  # o que se digita não se mostra
        self._confirmar = ""  # as muitas linhas que o próximo Enter envia
        self._lendo = False  # há uma linha a mostrar
        self._novas = ""  # o que falta escrever, acima da linha
        # O que se desenhou da linha até o cursor, em colunas; nada, se ela não está na tela.
        self._desenhado: list[int] = []

    def __enter__(self) -> "Tela":
        self._entrada.abrir()
        return self

    def __exit__(self, *_: object) -> None:
        with self.desenho():
            self._lendo = False
        self._escrever(self._desligar_colagem)
        self._entrada.fechar()

    # Escrever, de qualquer thread.

    @contextlib.contextmanager
    def desenho(self) -> Iterator[None]:
        """Toma a trava; tudo o que se disser até soltá-la aparece de uma vez, acima da linha."""
        with self._trava:
            try:
                yield
            finally:
                novas, self._novas = self._novas, ""
                self._escrever(self._apagar() + novas + self._desenhar())

    def mostrar(self, texto: str, cor: str | None = None) -> None:
        """Escreve `texto` acima da linha que se digita."""
        with self.desenho():
            self.dizer(texto, cor)

    def dizer(self, texto: str, cor: str | None = None, tocar: bool = False) -> None:
        """Põe `texto` no desenho; `tocar` chama quem está longe (BEL). Exige a trava."""
        for linha in texto.split("\n"):
            for parte in dobrar_entre_palavras(linha, self._tamanho()[0], RECUO) if self.interativa else [linha]:
                self._novas += colorir(parte, cor, self._cores) + "\n"
        if tocar and self._som:
            self._novas += "\a"

    # O que a thread de leitura sabe da conversa. Exigem a trava.

    def comecou(self, par: str) -> None:
        """Daqui em diante se fala com `par`."""
        self.par, self._conversou = par, True

    def acabou(self, tudo: bool) -> None:
        """A conversa acabou e, se `tudo`, o programa também: `ler` o conta à pessoa. Exige a trava."""
        self.par = ""
        if self._acabou is not Acabou.TUDO:
            self._acabou = Acabou.TUDO if tudo else Acabou.CONVERSA
        if self.ha_pessoa and not self.interativa:
            self.dizer("(Enter fecha.)" if tudo else "(Enter chama o próximo.)")
        self._entrada.acordar()

    # Ler, da thread principal.

    def ler(self) -> str:
        """Bloqueia até a pessoa digitar uma linha; levanta `EOFError` se ela quer sair, ou se tudo acabou.

        Uma colagem pode trazer quebras de linha. A conversa que acaba é como um Enter: sem nada escrito, a linha
        vazia volta na hora; senão, quando a pessoa o apertar.
        """
        if not self.interativa:
            return self._ler_linha()
        self._entrada.atenta(True)
        try:
            while True:
                with self.desenho():
                    self._lendo = False  # só se volta a mostrar a linha que ainda não acabou
                    linha = self._tratar()
                    self._lendo = linha is None
                if linha is not None:
                    return linha
                texto = self._entrada.ler(self._teclas.espera)
                if texto is None:
                    raise EOFError  # a janela se fechou
                self._a_tratar += self._teclas.alimentar(texto)
        finally:
            self._entrada.atenta(False)

    def desfazer_o_enter(self, linha: str) -> bool:
        """A `linha` que `ler` devolveu volta a ser a que se digita, se ele ainda tem um fim a contar; diz se voltou.

        Quem apertou Enter não sabia que a conversa tinha acabado: é como se o fim tivesse chegado antes.
        """
        with self._trava:
            desfaz = self.interativa and self._acabou is not Acabou.NADA
            if desfaz:
                self.linha.trocar(linha)
            return desfaz

    def perguntar(self, pergunta: str, oculta: bool = False, opcoes: Sequence[str] = ()) -> str:
        """O que a pessoa responde antes da conversa; `EOFError` se ela desiste."""
        if self.ha_pessoa and not self.interativa:
            self._escrever(pergunta)
        da_conversa, self.linha = self.linha, Linha(opcoes)
        self._pergunta, self._oculta = pergunta, oculta
        try:
            return self.ler().replace("\n", " ")
        finally:
            self.linha, self._pergunta, self._oculta = da_conversa, "", False

    def _ler_linha(self) -> str:
        """Como `ler`, sem terminal. O fim da entrada não corta a conversa que a própria entrada pediu."""
        while True:
            with self._trava:
                acabou, self._acabou = self._acabou, Acabou.NADA
                nada_a_esperar = self.ha_pessoa or self._pergunta or self._conversou and not self.par
                if acabou is Acabou.TUDO or self._fim_da_entrada and not self._a_tratar and nada_a_esperar:
                    raise EOFError
            if acabou is Acabou.CONVERSA and not (self.ha_pessoa and self._a_tratar):
                return ""
            if self._a_tratar:
                return self._a_tratar.popleft()
            texto = self._entrada.ler()
            if texto is None:
                self._fim_da_entrada = True
                texto = "\n" if self._pedaco else ""
            *linhas, self._pedaco = (self._pedaco + texto).split("\n")
            self._a_tratar += [linha.removesuffix("\r") for linha in linhas]

    # As teclas. Exigem a trava.

    def _tratar(self) -> str | None:
        """Faz o que as teclas que chegaram dizem; devolve a linha que elas completam, se completam. Exige a trava."""
        while self._a_tratar:
            if (linha := self._tratar_tecla(self._a_tratar.popleft())) is not None:
                return linha
        acabou, self._acabou = self._acabou, Acabou.NADA
        if acabou is Acabou.CONVERSA:
            self.linha.esquecer()
            if not self.linha.levar().strip():
                return ""
            self.dizer(NAO_ENVIADO, "amarelo")
        elif acabou is Acabou.TUDO:
            if not self.linha.texto:
                raise EOFError
            self._fechando = True
            self.dizer(ENTER_FECHA, "amarelo")
        return None

    def _tratar_tecla(self, tecla: str) -> str | None:
        if tecla != "enter":
            self._confirmar = ""
        if not isinstance(tecla, Tecla):
            if not self.linha.inserir(tecla):
                self.dizer("(É texto demais para colar de uma vez.)", "amarelo")
            return None
        match tecla:
            case "enter" if self._fechando:
                self._fixar()  # fica à vista
                raise EOFError
            case "enter" if self._acabou is Acabou.NADA:  # se não, a pessoa ainda não sabia que acabou
                return self._enter()
            case "ctrl+c" if self.linha.texto and not self._fechando:
                self.linha.trocar("")
            case "ctrl+c":
                self.dizer("Saindo...")
                raise EOFError
            case "ctrl+d" if not self.linha.texto:
                self._fixar()
                raise EOFError
            case "ctrl+l" if self._ansi:
                self._escrever("\x1b[H\x1b[2J")
                self._desenhado = []
            case "ctrl+z":
                self._escrever(self._apagar() + self._desligar_colagem)
                self._entrada.suspender()
            case _:
                self.linha.tecla(tecla)
        return None

    def _enter(self) -> str | None:
        texto = self.linha.texto
        linhas = texto.split("\n")
        if recusa := self.recusa(texto) if not self._pergunta else "":
            self.dizer(recusa, "amarelo")
            return None
        if len(linhas) > self.MAXIMO_SEM_PERGUNTAR and texto != self._confirmar:
            self._confirmar = texto
            self.dizer(f"(São {len(linhas)} linhas. Enter envia todas; Ctrl+C desiste.)", "amarelo")
            return None
        self._fixar()
        return self.linha.levar()

    def _fixar(self) -> None:
        """A linha passa a fazer parte do que já foi dito."""
        texto = "" if self._oculta else self.linha.texto
        self._novas += self._prompt + texto.replace("\n", f"\n{RECUO}") + "\n"

    # A linha na tela. Exigem a trava. O \r depois de uma sequência é para o console do wine, que a conta como escrita.

    @property
    def _prompt(self) -> str:
        return self._pergunta or (f"Sua mensagem para {self.par}: " if self.par else "Sua mensagem: ")

    def _tamanho(self) -> tuple[int, int]:
        """Colunas e linhas do terminal agora: a variável COLUMNS pode ser velha."""
        try:
            colunas, linhas = os.get_terminal_size(self._janela)
        except OSError:
            colunas, linhas = 0, 0
        return colunas or 80, linhas or 24

    def _desenhar(self) -> str:
        """O que escrever para que a linha apareça, com o cursor no lugar dele."""
        if not self._lendo:
            return ""
        colunas, altura = self._tamanho()
        visivel = "" if self._oculta else self.linha.texto.replace("\n", "↵")
        ate_o_cursor = self._dobrar(self._prompt + visivel[: self.linha.cursor], colunas)
        todas = self._dobrar(self._prompt + visivel, colunas)
        # De uma linha maior que a tela, ou num terminal que não sabe subir, vê-se o que está em volta do cursor.
        cabem = altura - 1 if self._ansi else 1
        ultima = max(len(ate_o_cursor), min(cabem, len(todas)))
        vistas = todas[max(0, ultima - cabem) : ultima]
        *acima, no_cursor = ate_o_cursor[max(0, ultima - cabem) :]
        self._desenhado = [*map(largura_total, acima), largura_total(no_cursor)]
        # Quebras nossas, e não do terminal: assim não importa quanto ele acha que um emoji ocupa. Pela mesma razão o
        # cursor volta ao seu lugar escrevendo de novo o que está antes dele.
        abaixo = len(vistas) - len(acima) - 1
        volta = (f"\x1b[{abaixo}A" if abaixo else "") + f"\r{no_cursor}"
        comeco = f"{self._ligar_colagem}\r"
        return comeco + "\r\n".join(vistas) + (volta if self.linha.cursor < len(visivel) else "")

    def _dobrar(self, texto: str, colunas: int) -> list[str]:
        linhas = dobrar(texto, colunas if self._ansi else colunas - 1)
        return [*linhas, ""] if largura_total(linhas[-1]) >= colunas else linhas

    def _apagar(self) -> str:
        """O que escrever para que a linha suma; o cursor fica onde ela começava."""
        if not self._desenhado:
            return ""
        colunas = self._tamanho()[0]
        *acima, coluna = self._desenhado
        self._desenhado = []
        if not self._ansi:
            return f"\r{' ' * (colunas - 1)}\r"
        # Se a janela estreitou, o terminal dobrou de novo o que estava escrito.
        subir = sum(max(1, -(-largura // colunas)) for largura in acima) + coluna // colunas
        return (f"\x1b[{subir}A" if subir else "") + "\r\x1b[J\r"

    def _escrever(self, texto: str) -> None:
        while texto and self._saida:
            try:
                self._saida.write(texto)
                return self._saida.flush()
            except UnicodeEncodeError as erro:  # o fluxo não é do Python, e não sabe trocar
                texto = texto[: erro.start] + "?" * (erro.end - erro.start) + texto[erro.end :]
            except (OSError, ValueError):
                self._saida = None  # ninguém mais a lê
