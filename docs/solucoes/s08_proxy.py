"""Solução 8: um intermediário que mostra o que passa entre o cliente e o servidor.

    python docs/solucoes/s08_proxy.py 12346 12345      (quem se conectar à 12346 fala com a 12345)

Uma bomba para cada sentido, cada uma numa thread. O fim do fluxo também tem de passar: quem só
repassasse bytes deixaria o outro lado esperando para sempre.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable


def bombear(de: socket.socket, para: socket.socket, ver: Callable[[bytes], None]) -> None:
    """Copia até o fim do fluxo, e o passa adiante."""
    try:
        while dados := de.recv(65536):
            ver(dados)
            para.sendall(dados)
        para.shutdown(socket.SHUT_WR)
    except OSError:  # um dos lados caiu: o outro tem de saber
        for sock in (de, para):
            # `close` não acordaria a outra bomba, parada no recv (experimento 3): ninguém ficaria sabendo.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Proxy(socketserver.ThreadingTCPServer):
    """Um proxy para `destino`; `ver(sentido, dados)` é chamada com cada pedaço."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # como em `Servidor`: rodar de novo sem esperar um minuto

    def __init__(self, porta: int, destino: tuple[str, int], ver: Callable[[str, bytes], None]) -> None:
        self.destino, self.ver = destino, ver
        super().__init__(("127.0.0.1", porta), Intermedio)


class Intermedio(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with socket.create_connection(self.server.destino) as servidor:
            volta = threading.Thread(
                target=bombear, args=(servidor, self.request, lambda dados: self.server.ver("<-", dados))
            )
            volta.start()
            bombear(self.request, servidor, lambda dados: self.server.ver("->", dados))
            volta.join()


if __name__ == "__main__":
    try:
        minha, dele = map(int, sys.argv[1:])
    except ValueError:  # não são dois, ou não são números
        sys.exit(__doc__)
    with Proxy(minha, ("127.0.0.1", dele), lambda sentido, dados: print(sentido, dados)) as proxy:
        proxy.serve_forever()
