"""O que os caracteres que um terminal manda querem dizer: texto e teclas com nome. Não sabe de onde vêm."""

import re
import time
from collections.abc import Callable

# O terminal passa a dizer o que foi colado, e não digitado; deixa de dizer; e o que ele diz.
LIGAR_COLAGEM, DESLIGAR_COLAGEM = "\x1b[?2004h", "\x1b[?2004l"
COLAGEM, FIM_DA_COLAGEM = "\x1b[200~", "\x1b[201~"


class Tecla(str):
    """Uma tecla com nome: "enter", "esquerda", "ctrl+a"... Um `str` comum é o texto que se digitou."""


class Colagem(str):
    """Um texto colado: nada nele é tecla, nem a quebra de linha."""


_PECA = re.compile(
    r"\x1b\[200~(?P<colado>.*?)\x1b\[201~"
    r"|\x1b(?:\[(?!200~)(?P<numeros>[0-?]*)[ -/]*(?P<final>[@-~])|O(?P<curta>[@-~])|(?P<alt>[^\x00-\x1f\x7f\[O]))"
    r"|\x1b(?:\[[ -?]*|O)?(?=[^ -~])"  # a tecla Esc, ou uma sequência que não acabou: o que vem agora não é dela
    r"|(?P<texto>[^\x00-\x1f\x7f]+)"
    r"|(?P<controle>[^\x1b])",
    re.DOTALL,
)
_FINAIS = {"A": "cima", "B": "baixo", "C": "direita", "D": "esquerda", "H": "home", "F": "end"}
_NUMEROS = {"1": "home", "3": "delete", "4": "end", "7": "home", "8": "end"}
_CONTROLES = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\b": "backspace"}


class Teclas:
    """Junta os pedaços que a entrada traz e devolve as teclas que eles completam."""

    PRAZO = 0.5
    """Segundos que se espera pelo resto de uma sequência de escape: depois deles, era a tecla Esc."""

    def __init__(self, relogio: Callable[[], float] = time.monotonic) -> None:
        self._relogio = relogio
        self._resto = ""  # o começo de uma sequência, ou de uma colagem, que ainda não acabou
        self._limite = 0.0  # até quando se espera pelo resto

    @property
    def espera(self) -> float | None:
        """Segundos que ainda se espera pelo resto de uma sequência, ou `None`: a colagem sempre acaba."""
        if not self._resto or self._resto.startswith(COLAGEM):
            return None
        return max(0.0, self._limite - self._relogio())

    def alimentar(self, texto: str) -> list[str]:
        """As teclas que `texto` completa. Vazio, ou o prazo venceu, ou algo acordou quem esperava."""
        if texto:
            self._limite = self._relogio() + self.PRAZO
        elif self.espera == 0:
            self._resto = ""
        self._resto += texto
        teclas, fim = [], 0
        while peca := _PECA.match(self._resto, fim):
            fim = peca.end()
            if tecla := _tecla(peca):
                teclas.append(tecla)
        self._resto = self._resto[fim:]
        return teclas


def _tecla(peca: re.Match[str]) -> str | None:
    match peca.lastgroup:
        case "texto":
            return peca["texto"]
        case "colado":
            return Colagem(peca["colado"])
        case "alt":
            return Tecla(f"alt+{peca['alt']}")
        case "controle":
            return Tecla(_CONTROLES.get(peca["controle"]) or f"ctrl+{chr(ord(peca['controle']) + 96)}")
    primeiro, _, segundo = (peca["numeros"] or "").partition(";")
    nome = _NUMEROS.get(primeiro) if peca["final"] == "~" else _FINAIS.get(peca["final"] or peca["curta"])
    com_ctrl = segundo in ("3", "5")  # Alt com uma seta faz o que Ctrl faz
    return Tecla(f"ctrl+{nome}" if com_ctrl else nome) if nome else None
