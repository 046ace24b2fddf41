"""Solução 10: deixar o computador achar o defeito.

    python docs/solucoes/s10_achar_o_defeito.py

`FilasComDefeito` forma pares, mensagens e fins como deve; o defeito só aparece quando um atendente
chega com dois clientes na fila e outro atendente chega **antes** de se publicarem as posições, um
quarto de segundo depois. Ninguém escreve esse exemplo; o explorador de `tests/test_filas.py`
experimenta todas as ordens e conta a história.
"""

import sys
from pathlib import Path

RAIZ = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(RAIZ), str(RAIZ / "tests")]

from filas import Efeito, Filas  # noqa: E402


class FilasComDefeito(Filas):
    def tentar_formar_par(self, efeito: Efeito) -> bool:
        if self.posicoes_mudaram:  # "depois se vê isso": e ninguém volta a ver
            return False
        return super().tentar_formar_par(efeito)


def historia_do_defeito(filas: Filas) -> str | None:
    """A queixa e a história mais curta que leva a ela; `None` se não há defeito que o explorador veja."""
    from test_filas import explorar

    try:
        explorar(filas)
    except AssertionError as erro:
        queixa, historia = str(erro).split("\n")[0], str(erro).rpartition("História: ")[2]
        return f"{queixa}\n{historia}"
    return None


if __name__ == "__main__":
    print(historia_do_defeito(FilasComDefeito()))
