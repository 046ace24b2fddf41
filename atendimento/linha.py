"""A linha que a pessoa digita: entram teclas, saem o texto e o lugar do cursor. Não sabe de teclado nem de tela."""

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence

from atendimento.teclas import Tecla
from protocolo import limpar

ZWJ = "\u200d"  # une os emojis de um emoji composto
EMOJI_COLORIDO = "\ufe0f"

# --- O que se vê ----------------------------------------------------------------------------------


def grafemas(texto: str) -> list[str]:
    """O texto dividido no que parece um caractere só: o acento vai com a letra, e o emoji composto, inteiro."""
    if texto.isascii():
        return list(texto)
    partes: list[str] = []
    for letra in texto:
        if partes and _continua(partes[-1], letra):
            partes[-1] += letra
        else:
            partes.append(letra)
    return partes


def _continua(grafema: str, letra: str) -> bool:
    if unicodedata.category(letra) in ("Mn", "Me", "Mc", "Cf") or "\U0001f3fb" <= letra <= "\U0001f3ff":  # tom de pele
        return True
    bandeira = len(grafema) == 1 and all("\U0001f1e6" <= metade <= "\U0001f1ff" for metade in (grafema, letra))
    return bandeira or grafema[-1] == ZWJ and unicodedata.category(letra) == "So"


@functools.lru_cache(maxsize=4096)
def largura(grafema: str) -> int:
    """Colunas que o grafema ocupa. Onde os terminais discordam, o máximo: quem dobra por ele nunca passa da borda."""
    ocupam = 0
    for letra in grafema:
        if unicodedata.category(letra) not in ("Mn", "Me", "Cf"):
            ocupam += 2 if unicodedata.east_asian_width(letra) in "WF" else 1
    return max(ocupam, 2) if EMOJI_COLORIDO in grafema else ocupam


def largura_total(texto: str) -> int:
    """Colunas que o texto ocupa, se couber numa linha da tela."""
    return len(texto) if texto.isascii() else sum(map(largura, grafemas(texto)))


def dobrar(texto: str, colunas: int, recuo: str = "") -> list[str]:
    """As linhas da tela que o texto ocupa; as que continuam outra começam pelo recuo."""
    if len(texto) <= colunas and texto.isascii():
        return [texto]
    linhas, ocupadas = [""], 0
    for grafema in grafemas(texto):
        cabe = ocupadas + largura(grafema) <= colunas
        if not cabe:
            linhas.append(recuo)
            ocupadas = len(recuo)
        linhas[-1] += grafema
        ocupadas += largura(grafema)
    return linhas


_PALAVRA = re.compile(" *[^ ]+")


def dobrar_entre_palavras(texto: str, colunas: int, recuo: str) -> list[str]:
    """Como `dobrar`, para o que só se lê: quebra nos espaços, que ali somem; só palavra maior que a linha se parte."""
    linhas, ocupadas = [""], 0
    for palavra in _PALAVRA.findall(texto):
        ocupa = largura_total(palavra)
        if ocupadas + ocupa <= colunas:
            linhas[-1] += palavra
            ocupadas += ocupa
            continue
        sem_espaco = palavra.lstrip(" ")
        cabe_na_seguinte = len(recuo) + largura_total(sem_espaco) <= colunas
        if cabe_na_seguinte or ocupadas > colunas - 3:  # ou nem o começo dela cabe nesta
            palavra = recuo + sem_espaco
            linhas.append("")
        linhas[-1:] = dobrar(linhas[-1] + palavra, colunas, recuo)
        ocupadas = largura_total(linhas[-1])
    return linhas


# --- A linha --------------------------------------------------------------------------------------


class Linha:
    """O que se digitou, onde está o cursor, e o que já foi enviado."""

    MAXIMO = 64 * 1024
    """Caracteres. O que passar disso não entra: é muito mais que uma mensagem, e ainda se redesenha a cada tecla."""

    def __init__(self, opcoes: Sequence[str] = ()) -> None:
        self.texto = ""
        self.cursor = 0  # entre quais caracteres de `texto`; nunca no meio de um grafema
        self.opcoes = opcoes  # o que TAB completa
        self.historico: list[str] = []
        self._lugar = 0  # no histórico; no fim dele está o que ainda não foi enviado
        self._nova = ""  # o que se digitava antes de subir no histórico
        self._cortado = ""  # o que Ctrl+Y repõe

    def tecla(self, tecla: str) -> None:
        """Faz o que a tecla faz; a que nada faz na linha é ignorada."""
        if not isinstance(tecla, Tecla):
            self.inserir(tecla)
        elif tecla in self.ANDA:
            self.cursor = self.ANDA[tecla](self)
        elif tecla in self.APAGA:
            self._apagar_ate(self.APAGA[tecla](self))
        elif tecla in self.CORTA:
            self._cortado = self._apagar_ate(self.CORTA[tecla](self)) or self._cortado
        elif tecla in self.OUTRAS:
            self.OUTRAS[tecla](self)

    def inserir(self, texto: str) -> bool:
        """Põe o texto no lugar do cursor, sem controles; diz se coube."""
        partes = texto.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
        texto = "\n".join(map(limpar, partes))
        if len(self.texto) + len(texto) > self.MAXIMO:
            return False
        fim = self.cursor + len(texto)
        self.texto = self.texto[: self.cursor] + texto + self.texto[self.cursor :]
        # Um acento entra no grafema de antes; um ZWJ pode unir o de antes ao de depois.
        self.cursor = min(limite for limite in self._limites() if limite >= fim)
        return True

    def trocar(self, texto: str) -> None:
        """Passa a ter este texto, com o cursor no fim."""
        self.texto, self.cursor = texto, len(texto)

    def levar(self) -> str:
        """O que se digitou, que vai para o histórico; a linha fica vazia."""
        texto = self.texto
        if texto.strip():
            self.historico.append(texto)
        self._lugar, self._nova = len(self.historico), ""
        self.trocar("")
        return texto

    def esquecer(self) -> None:
        """O histórico fica vazio: outra conversa vai começar."""
        self.historico, self._lugar = [], 0

    # Para onde o cursor vai.

    def _limites(self) -> list[int]:
        limites = [0]
        for grafema in grafemas(self.texto):
            limites.append(limites[-1] + len(grafema))
        return limites

    def _anterior(self) -> int:
        return max((limite for limite in self._limites() if limite < self.cursor), default=0)

    def _seguinte(self) -> int:
        return min((limite for limite in self._limites() if limite > self.cursor), default=self.cursor)

    def _inicio(self) -> int:
        return 0

    def _fim(self) -> int:
        return len(self.texto)

    def _palavra_anterior(self) -> int:
        antes = self.texto[: self.cursor].rstrip()
        return len(antes) - len(antes.split()[-1]) if antes else 0

    def _palavra_seguinte(self) -> int:
        depois = self.texto[self.cursor :]
        palavras = depois.split()
        return self.cursor + depois.index(palavras[0]) + len(palavras[0]) if palavras else len(self.texto)

    # O que mais as teclas fazem.

    def _apagar_ate(self, lugar: int) -> str:
        """Tira o que está entre o cursor e `lugar`, e devolve-o."""
        inicio, fim = sorted((self.cursor, lugar))
        tirado = self.texto[inicio:fim]
        self.texto, self.cursor = self.texto[:inicio] + self.texto[fim:], inicio
        return tirado

    def _colar(self) -> None:
        self.inserir(self._cortado)

    def _subir(self) -> None:
        self._ir_no_historico(self._lugar - 1)

    def _descer(self) -> None:
        self._ir_no_historico(self._lugar + 1)

    def _ir_no_historico(self, lugar: int) -> None:
        if 0 <= lugar <= len(self.historico):
            if self._lugar == len(self.historico):
                self._nova = self.texto
            self._lugar = lugar
            self.trocar([*self.historico, self._nova][lugar])

    def _completar(self) -> None:
        """Completa até onde as opções que começam assim são iguais."""
        antes = self.texto[: self.cursor]
        servem = [opcao for opcao in self.opcoes if opcao.casefold().startswith(antes.casefold())]
        if antes and servem:
            # Pela ordem, o que a primeira e a última têm em comum no começo todas têm.
            primeira, ultima = min(servem), max(servem)
            iguais = itertools.takewhile(lambda letras: letras[0] == letras[1], zip(primeira, ultima))
            comum = "".join(letra for letra, _ in iguais)
            if len(comum) > len(antes):
                self._apagar_ate(0)
                self.inserir(comum)

    ANDA = {
        "esquerda": _anterior,
        "ctrl+b": _anterior,
        "direita": _seguinte,
        "ctrl+f": _seguinte,
        "home": _inicio,
        "ctrl+a": _inicio,
        "end": _fim,
        "ctrl+e": _fim,
        "alt+b": _palavra_anterior,
        "ctrl+esquerda": _palavra_anterior,
        "alt+f": _palavra_seguinte,
        "ctrl+direita": _palavra_seguinte,
    }
    APAGA = {"backspace": _anterior, "delete": _seguinte, "ctrl+d": _seguinte}
    CORTA = {"ctrl+u": _inicio, "ctrl+k": _fim, "ctrl+w": _palavra_anterior}
    OUTRAS = {"ctrl+y": _colar, "cima": _subir, "baixo": _descer, "tab": _completar}
