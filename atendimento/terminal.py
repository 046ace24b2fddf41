"""A saída de um programa: se é um terminal, o que ela aceita, e as cores."""

import contextlib
import os
from typing import TextIO

_CODIGOS = {"vermelho": 31, "verde": 32, "amarelo": 33, "azul": 34, "magenta": 35, "ciano": 36}  # ANSI


def descritor(fluxo: TextIO | None) -> int | None:
    """O número do fluxo no sistema, se ele existe e tem um: os que uma IDE põe no lugar não têm."""
    try:
        return fluxo.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def e_terminal(fluxo: TextIO | None) -> bool:
    """Diz se o fluxo é um terminal de verdade, que entende sequências de escape."""
    numero = descritor(fluxo)
    return numero is not None and os.isatty(numero)


def aceitar_tudo(fluxo: TextIO | None) -> None:
    """O que o fluxo não sabe ler ou escrever passa a ser um `?`, e o que não cabe agora espera, se ele o permite."""
    with contextlib.suppress(AttributeError, ValueError):  # não é do Python, ou está fechado
        fluxo.reconfigure(errors="replace")
    with contextlib.suppress(AttributeError, ValueError, OSError):
        os.set_blocking(fluxo.fileno(), True)  # quem divide o terminal conosco pode tê-lo mudado


def usar_cores(saida: TextIO | None) -> bool:
    """Diz se `saida` merece cores, e prepara o console do Windows para elas."""
    if not e_terminal(saida) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return os.name != "nt" or _preparar_console()


def _preparar_console() -> bool:
    """Diz se o console do Windows passa a entender as cores."""
    try:
        from colorama import just_fix_windows_console  # que só se importa lá
    except ImportError:  # não está instalada, ou é mais velha que a 0.4.6
        return False
    just_fix_windows_console()
    return True


def colorir(texto: str, cor: str | None, cores: bool) -> str:
    """Devolve `texto` na cor dada, se `cores`; sem isso, ele mesmo."""
    return f"\x1b[{_CODIGOS[cor]}m{texto}\x1b[0m" if cores and cor else texto
