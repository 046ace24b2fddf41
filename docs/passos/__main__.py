"""Roda um passo, até o Ctrl+C.

    python docs/passos 0                    na porta 12345
    python docs/passos 0 --porta 12346      em outra
"""

import errno
import runpy
import signal
import sys
from pathlib import Path


def main() -> None:
    match sys.argv[1:]:
        case [passo]:
            porta = "12345"
        case [passo, "--porta", porta]:
            pass
        case _:
            sys.exit(__doc__)
    arquivo = Path(__file__).with_name(f"passo{passo}.py")
    if not arquivo.exists() or not porta.isdecimal():
        sys.exit(__doc__)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # os dois primeiros, e no Windows quase todos, não acabariam
    print(f"O passo {passo}, na porta {porta}. Ctrl+C encerra.", flush=True)
    sys.argv[1:] = [porta]
    try:
        runpy.run_path(str(arquivo), run_name="__main__")
    except (OSError, OverflowError) as erro:
        if getattr(erro, "errno", None) == errno.EADDRINUSE:
            sys.exit(f"A porta {porta} já está em uso. Feche o outro servidor, ou diga outra porta.")
        sys.exit(f"Não foi possível usar a porta {porta}: {erro}")


if __name__ == "__main__":
    main()
