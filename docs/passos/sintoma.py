"""Mostra, no passo anterior e no próprio, o sintoma de um passo que só aparece com quem não lê ou não fala.

    python docs/passos/sintoma.py 6    quem não lê congela quem nem fala com ele
    python docs/passos/sintoma.py 7    quem não diz nada ocupa um lugar para sempre (leva uns 25 s)

Os outros sintomas, o conferidor e o escalonador mostram.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PASTA = Path(__file__).resolve().parent
PRAZO = 10.0  # segundos para o servidor subir
SEM_RESPOSTA = 2.0  # segundos sem resposta que bastam para dizer que não vem


@contextlib.contextmanager
def no_ar(passo: int) -> Iterator[int]:
    """Um passo no ar, numa porta livre, até o fim do bloco."""
    with socket.socket() as livre:
        livre.bind(("127.0.0.1", 0))
        porta = livre.getsockname()[1]
    servidor = subprocess.Popen([sys.executable, str(PASTA / f"passo{passo}.py"), "--porta", str(porta)])
    try:
        yield porta
    finally:
        servidor.kill()
        servidor.wait()


def conectar(porta: int, *linhas: str) -> socket.socket:
    """Alguém que manda estas linhas; insiste enquanto o servidor ainda não subiu."""
    limite = time.monotonic() + PRAZO
    while True:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # quem não lê logo enche
        try:
            sock.connect(("127.0.0.1", porta))
            break
        except ConnectionRefusedError:
            sock.close()
            if time.monotonic() > limite:
                raise
    sock.sendall("".join(f"{linha}\n" for linha in linhas).encode())
    return sock


def ler_ate(sock: socket.socket, fim: bytes) -> None:
    """Lê até ver `fim`."""
    lido = b""
    while fim not in lido:
        lido += sock.recv(4096)


def quem_nao_le(porta: int) -> str:
    """Mudo, na fila, manda linhas longas e não lê os avisos. Bia, à frente dele, vai embora. Alguém tenta entrar."""
    with contextlib.ExitStack() as pilha:
        bia = pilha.enter_context(conectar(porta, "CLIENTE", "Bia"))
        ler_ate(bia, b"FILA:1\n")  # só então Mudo entra: atrás dela
        mudo = pilha.enter_context(conectar(porta, "CLIENTE", "Mudo"))
        ler_ate(mudo, b"FILA:2\n")
        mudo.settimeout(SEM_RESPOSTA)
        with contextlib.suppress(TimeoutError):  # até que nada mais caiba, nem na ida nem na volta
            while True:
                mudo.sendall(b"x" * 5000 + b"\n")
        bia.close()  # a posição de Mudo muda, e o servidor quer lhe contar
        time.sleep(0.5)
        alguem = pilha.enter_context(conectar(porta, "CLIENTE"))
        alguem.settimeout(SEM_RESPOSTA)
        try:
            return f"quem tenta entrar lê {alguem.recv(100).decode().strip()!r}"
        except TimeoutError:
            return f"quem tenta entrar não lê nada em {SEM_RESPOSTA:.0f} s: o servidor parou para todos"


def quem_nao_fala(porta: int) -> str:
    """Alguém se conecta e não diz nada."""
    with conectar(porta) as calado:
        calado.settimeout(12.0)
        comeco = time.monotonic()
        try:
            calado.recv(100)
        except TimeoutError:
            return "12 s depois, ainda está lá, e a sua thread também"
        return f"em {time.monotonic() - comeco:.0f} s o servidor o desconectou"


SINTOMAS = {6: quem_nao_le, 7: quem_nao_fala}


def main() -> None:
    if sys.argv[1:] not in (["6"], ["7"]):
        sys.exit("uso: python docs/passos/sintoma.py 6|7")
    passo = int(sys.argv[1])
    sintoma = SINTOMAS[passo]
    print(sintoma.__doc__)
    for qual in passo - 1, passo:
        with no_ar(qual) as porta:
            print(f"  passo{qual}.py: {sintoma(porta)}.", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
