"""Solução 4: quanto leva uma mensagem, e o que o algoritmo de Nagle tem com isso.

    python docs/solucoes/s04_ida_e_volta.py

O pior caso do Nagle não é uma mensagem: é uma mensagem mandada em dois pedaços (o prefixo, e depois o
texto). O segundo pedaço espera a confirmação do primeiro, e o outro lado, que ainda não tem o que
responder, demora a confirmar: cerca de 40 ms no Linux. `TCP_NODELAY` manda os dois na hora.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time


def eco(sock: socket.socket) -> None:
    """O outro lado: devolve cada linha, depois de a ter inteira."""
    with sock, sock.makefile("rb") as linhas:
        for linha in linhas:
            sock.sendall(linha)


def ida_e_volta(vezes: int, nodelay: bool) -> list[float]:
    """Os segundos de cada uma de `vezes` mensagens mandadas em dois pedaços."""
    tempos = []
    with socket.create_server(("127.0.0.1", 0)) as ouvinte:
        with socket.create_connection(ouvinte.getsockname()) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
            outro = threading.Thread(target=eco, args=(ouvinte.accept()[0],))
            outro.start()
            with sock.makefile("rb") as linhas:
                for numero in range(vezes):
                    comeco = time.perf_counter()
                    sock.sendall(b"[Yuri]: ")
                    sock.sendall(b"mensagem %d\n" % numero)
                    assert linhas.readline() == b"[Yuri]: mensagem %d\n" % numero
                    tempos.append(time.perf_counter() - comeco)
            sock.shutdown(socket.SHUT_WR)
            outro.join()
    return tempos


if __name__ == "__main__":
    for nodelay in (False, True):
        mediana = statistics.median(ida_e_volta(50, nodelay)) * 1000
        print(f"{'com' if nodelay else 'sem'} TCP_NODELAY: {mediana:7.3f} ms por mensagem (mediana de 50)")
