"""Manda bytes ao servidor nos pedaços e com as pausas que se quiser, e mostra o que ele responde.

    python docs/pedacos.py "CLI" 1 "ENTE\\n" 1 "Yuri\\num\\ndois\\n"       um número é uma pausa, em segundos
    python docs/pedacos.py 192.168.0.10:12345 "CLIENTE\\n"

Cada pedaço é um `send`. Depois do último, escuta até que o servidor feche, ou até um Ctrl+C. Serve também no Windows,
que não tem `printf` nem `nc`; e não há shell que junte dois pedaços.
"""

import contextlib
import re
import signal
import socket
import sys
import threading
import time


def mostrar(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while dados := sock.recv(4096):
            print(f"  <- {dados}", flush=True)
    print("  <- (o servidor fechou)", flush=True)


argumentos = sys.argv[1:]
outro = argumentos.pop(0) if argumentos and re.fullmatch(r".+:\d+", argumentos[0]) else "127.0.0.1:12345"
host, _, porta = outro.rpartition(":")
if not argumentos:
    sys.exit(__doc__)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # no Windows, quem está num `join` não percebe o Ctrl+C
try:
    with socket.create_connection((host, int(porta))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # sem isto o sistema pode juntar dois pedaços
        leitura = threading.Thread(target=mostrar, args=(sock,), daemon=True)
        leitura.start()
        for passo in argumentos:
            if re.fullmatch(r"\d+(\.\d+)?", passo):
                time.sleep(float(passo))
            else:
                dados = passo.replace("\\n", "\n").encode()
                print(f"->   {dados}", flush=True)
                sock.sendall(dados)
        leitura.join()
except (OSError, OverflowError):
    sys.exit(f"Não há quem responda em {host}, porta {porta}, ou a conexão caiu. O servidor está no ar?")
