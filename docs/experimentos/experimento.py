"""O que os experimentos têm em comum: onde está o projeto, e como mostrar o que se vê."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

RAIZ = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(RAIZ / pasta) for pasta in ("", "docs", "tests")]

from atendimento.terminal import colorir, e_terminal, usar_cores  # noqa: E402

for saida in sys.stdout, sys.stderr:
    saida.reconfigure(errors="replace", line_buffering=True)
CORES = usar_cores(sys.stdout)

PRAZO = 10.0
"""Segundos que se espera por uma thread que tem de acabar."""


def titulo(texto: str) -> None:
    """A pergunta do experimento, ou o começo de uma parte dele."""
    print(f"\n{colorir(texto, 'ciano', CORES)}\n{colorir('=' * len(texto), 'ciano', CORES)}")


def conserto(texto: str) -> None:
    """Começa a parte do conserto. Num terminal, só depois de um Enter: é a hora de a turma o propor."""
    if e_terminal(sys.stdin) and e_terminal(sys.stdout):
        try:
            input("\n  (Enter mostra o conserto.) ")
        except (EOFError, KeyboardInterrupt):
            sys.exit("")
    titulo(f"O conserto: {texto}")


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


def comecar(alvo: Callable[[], object]) -> threading.Thread:
    """Roda `alvo` em outra thread, que não prende o programa: se ele desiste, ela acaba com ele."""
    thread = threading.Thread(target=alvo, daemon=True)
    thread.start()
    return thread


def juntas(*alvos: Callable[[], object]) -> None:
    """Roda cada função na sua thread e espera por todas."""
    for thread in [comecar(alvo) for alvo in alvos]:
        thread.join(PRAZO)
        conferir(not thread.is_alive(), "as threads acabarem")
