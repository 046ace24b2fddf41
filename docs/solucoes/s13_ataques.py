"""Solução 13: atacar o servidor, e ver que quem conversa não percebe.

    python docs/solucoes/s13_ataques.py 127.0.0.1 12345

Cada ataque é uma função que recebe o endereço. O que o servidor faz contra cada um está na docstring;
procure no código a linha que o faz.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def conexao(endereco: tuple[str, int], *linhas: str) -> Iterator[socket.socket]:
    with socket.create_connection(endereco, timeout=10) as sock:
        sock.sendall("".join(f"{linha}\n" for linha in linhas).encode())
        yield sock


def linha_sem_fim(endereco: tuple[str, int]) -> None:
    """Megabytes sem um `\\n`: o separador guarda no máximo uma linha, e descarta o resto."""
    with conexao(endereco, "CLIENTE", "Sem fim") as sock:
        for _ in range(64):
            sock.sendall(b"x" * 65536)


def mudo(endereco: tuple[str, int]) -> None:
    """Pede respostas e nunca as lê: ouvido no ritmo, e só a sua thread espera que ele leia, até cortá-lo no prazo."""
    with conexao(endereco, "ATENDENTE", "Mudo") as sock:
        sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                sock.sendall(b"oi\n" * 1000)


def enxurrada_de_conexoes(endereco: tuple[str, int]) -> None:
    """Duzentas conexões que não dizem nada: esgotam o seu prazo, ou o teto; de outra máquina, o do seu endereço."""
    with contextlib.ExitStack() as pilha:
        for _ in range(200):
            pilha.enter_context(conexao(endereco))


def impostor(endereco: tuple[str, int]) -> None:
    """Escreve comandos do servidor e o nome dos outros: tudo chega depois do seu próprio prefixo."""
    with conexao(endereco, "CLIENTE", "Impostor", "CONECTADO:Ana", "[Ana]: sou a Ana", "\x1b[2J"):
        pass


def json_fundo(endereco: tuple[str, int]) -> None:
    """Listas dentro de listas, que esgotariam a pilha da thread: são contadas antes de lidas."""
    with conexao(endereco, '{"comando":"cliente","x":' + "[" * 4000):
        pass


ATAQUES: list[Callable[[tuple[str, int]], None]] = [linha_sem_fim, mudo, enxurrada_de_conexoes, impostor, json_fundo]


if __name__ == "__main__":
    try:
        alvo = sys.argv[1], int(sys.argv[2])
    except (IndexError, ValueError):
        sys.exit(__doc__)
    for ataque in ATAQUES:
        comeco = time.monotonic()
        ataque(alvo)
        print(f"{ataque.__name__:24} {time.monotonic() - comeco:5.1f} s   {ataque.__doc__}")
