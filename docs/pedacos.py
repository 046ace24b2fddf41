"""Manda bytes ao servidor nos pedaços e com as pausas que se quiser, e mostra o que ele responde.

    python docs/pedacos.py "CLI" 1 "ENTE\\n" 1 "Yuri\\num\\ndois\\n"     um número é uma pausa, em segundos
    python docs/pedacos.py --porta 5000 "CLIENTE\\n"

Um pedaço é um `send`. Depois do último, escuta até que o servidor feche, ou até um Ctrl+C. Para o Windows, que não
tem `printf` nem `nc`, e para todos: não há como o shell juntar dois pedaços.
"""

import contextlib
import socket
import sys
import threading
import time

host, porta, passos = "127.0.0.1", 12345, sys.argv[1:]
while passos[:1] in (["--host"], ["--porta"]) and len(passos) > 1:
    opcao, valor, *passos = passos
    host, porta = (valor, porta) if opcao == "--host" else (host, int(valor) if valor.isdigit() else 0)
if not passos:
    sys.exit(__doc__)


def mostrar(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while dados := sock.recv(4096):
            print(f"  <- {dados!r}", flush=True)
    print("  <- (o servidor fechou)", flush=True)


try:
    with socket.create_connection((host, porta)) as sock, contextlib.suppress(KeyboardInterrupt):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # sem isto o sistema pode juntar dois pedaços
        leitura = threading.Thread(target=mostrar, args=(sock,), daemon=True)
        leitura.start()
        for passo in passos:
            if passo.replace(".", "", 1).isdigit():
                time.sleep(float(passo))
                continue
            dados = passo.replace("\\n", "\n").encode("utf-8", "surrogateescape")
            print(f"->   {dados!r}", flush=True)
            sock.sendall(dados)
        leitura.join()
except OSError:
    sys.exit(f"Não há quem responda em {host}, porta {porta}, ou a conexão caiu: o servidor está no ar?")
