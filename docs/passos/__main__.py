"""Roda um passo, até o Ctrl+C.

    python docs/passos 0                    na porta 12345
    python docs/passos 0 --porta 12346      em outra
"""

import errno
import re
import runpy
import signal
import sys
from pathlib import Path


def main() -> None:
    pedido = re.fullmatch(r"(\d+)( --porta (\d+))?", " ".join(sys.argv[1:]))
    arquivo = pedido and Path(__file__).with_name(f"passo{pedido[1]}.py")
    if not (arquivo and arquivo.exists()):
        sys.exit(__doc__)
    passo, porta = pedido[1], pedido[3] or "12345"
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # os dois primeiros, e no Windows quase todos, não acabariam
    print(f"O passo {passo}, na porta {porta}. Ctrl+C encerra.", flush=True)
    sys.argv[1:] = [porta]
    try:
        runpy.run_path(str(arquivo), run_name="__main__")
    except OverflowError:
        sys.exit(f"Não foi possível usar a porta {porta}: elas vão até a 65535.")
    except OSError as erro:
        # No Windows, a porta do nosso servidor é "sem permissão".
        if erro.errno in (errno.EADDRINUSE, errno.EACCES):
            sys.exit(f"A porta {porta} já está em uso, ou é reservada. Feche o outro servidor, ou diga outra porta.")
        sys.exit(f"Não foi possível usar a porta {porta}: {erro}")


if __name__ == "__main__":
    main()
