"""Solução 10: deixar o computador achar o defeito.

    python docs/solucoes/s10_achar_o_defeito.py

`FilasComDefeito` forma pares, mensagens e fins como deve; o defeito só aparece quando alguém é chamado,
com mais gente na fila, e um atendente fica livre **antes** de se publicarem as posições, um quarto de
segundo depois. Ninguém escreve esse exemplo; o explorador de `tests/test_filas.py`
experimenta todas as ordens, compara cada uma com o modelo e conta a história.
"""

import sys
from pathlib import Path
from unittest.mock import patch

RAIZ = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(RAIZ), str(RAIZ / "tests")]

from atendimento.filas import Fato, Filas  # noqa: E402
from protocolo import Tipo  # noqa: E402

# De cada um, o tipo e os departamentos; este servidor não os tem.
ELENCO = {nome: (Tipo.CLIENTE, ("",)) for nome in ("Yuri", "Bia")} | {"Ana": (Tipo.ATENDENTE, ("",))}


class FilasComDefeito(Filas):
    def tentar_formar_par(self, fato: Fato) -> bool:
        if self.posicoes_mudaram:  # "depois se vê isso": e ninguém volta a ver
            return False
        return super().tentar_formar_par(fato)


def historia_do_defeito(tipo: type[Filas]) -> str | None:
    """A queixa e a história mais curta que leva a ela; `None` se não há defeito que o explorador veja."""
    from modelo import Modelo
    from test_filas import Mundo, explorar

    # Uma mensagem guardada na espera em vez de vinte: as situações são menos, e o limite entra na exploração.
    with patch.object(Filas, "MAXIMO_GUARDADO", 1), patch.object(Modelo, "MAXIMO_GUARDADO", 1):
        try:
            explorar(Mundo(ELENCO, tipo=tipo))
        except AssertionError as erro:
            queixa, historia = str(erro).split("\n")[0], str(erro).rpartition("História: ")[2]
            return f"{queixa}\n{historia}"
    return None


if __name__ == "__main__":
    print(historia_do_defeito(FilasComDefeito))
