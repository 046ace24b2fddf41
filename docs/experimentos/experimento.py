"""O que os experimentos têm em comum: onde está o projeto, e como mostrar o que se vê."""

import sys
from pathlib import Path

RAIZ = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(RAIZ), str(RAIZ / "tests")]

from terminal import colorir, usar_cores  # noqa: E402

for saida in sys.stdout, sys.stderr:
    saida.reconfigure(errors="replace", line_buffering=True)
CORES = usar_cores(sys.stdout)


def titulo(texto: str) -> None:
    """A pergunta do experimento, ou o começo de uma parte dele."""
    print(f"\n{colorir(texto, 'ciano', CORES)}\n{colorir('=' * len(texto), 'ciano', CORES)}")


def ver(rotulo: str, valor: object) -> None:
    """Algo que se observou."""
    print(f"  {rotulo:<34} {valor}")


def errado(texto: str) -> None:
    print(colorir(f"  ERRADO  {texto}", "vermelho", CORES))


def certo(texto: str) -> None:
    print(colorir(f"  CERTO   {texto}", "verde", CORES))


def porque(texto: str) -> None:
    """O que houve, em poucas linhas."""
    print("\n  " + texto.strip().replace("\n", "\n  "))


def conferir(visto: bool, que: str) -> None:
    """Um experimento só vale se o que ele afirma aconteceu: senão, termina com código 1."""
    if not visto:
        sys.exit(f"Não se viu o que se esperava: {que}.")
