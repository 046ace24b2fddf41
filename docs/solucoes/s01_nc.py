"""Solução 1: um `nc` de bolso. Serve para falar o protocolo à mão onde não há `nc`.

    python docs/solucoes/s01_nc.py 127.0.0.1 12345

São duas as coisas que bloqueiam, o teclado e o socket, e por isso são duas threads: é a forma de
`cliente.py` sem mais nada.
"""

import socket
import sys
import threading


def mostrar(sock: socket.socket) -> None:
    """A thread de leitura: o que chega vai para a tela como veio, até o fim do fluxo."""
    while dados := sock.recv(4096):
        sys.stdout.buffer.write(dados)  # bytes: um acento partido se completa no pedaço seguinte
        sys.stdout.buffer.flush()


def main(host: str, porta: int) -> None:
    with socket.create_connection((host, porta)) as sock:
        leitura = threading.Thread(target=mostrar, args=(sock,), daemon=True)
        leitura.start()
        for linha in sys.stdin.buffer:
            sock.sendall(linha)
        # O teclado acabou, e a conversa não: só a nossa metade do fluxo se fecha.
        sock.shutdown(socket.SHUT_WR)
        leitura.join()


if __name__ == "__main__":
    try:
        alvo = sys.argv[1], int(sys.argv[2])
    except (IndexError, ValueError):
        sys.exit(__doc__)
    try:
        main(*alvo)
    except OSError:
        sys.exit(f"Não há quem responda em {alvo[0]}, porta {alvo[1]}; ou a conexão caiu.")
