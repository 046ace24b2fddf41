"""`close()` não acorda quem está parado num `recv`; `shutdown()`, sim."""

import contextlib
import os
import select
import socket
import sys
import threading
import time

from experimento import PRAZO, certo, comecar, conferir, conserto, errado, porque, titulo, ver

ESPERA = 1.0  # segundos


def parada_num_recv(sock: socket.socket, do_outro: socket.socket) -> threading.Thread:
    """Uma thread que já está dentro do `recv`, e não a caminho dele."""

    def ler() -> None:
        with contextlib.suppress(OSError):
            while sock.recv(2, socket.MSG_WAITALL):  # só volta com dois bytes, ou no fim do fluxo
                pass

    do_outro.send(b"?")  # um byte só
    select.select([sock], [], [], PRAZO)  # chegou
    thread, limite = comecar(ler), time.monotonic() + ESPERA
    while select.select([sock], [], [], 0)[0] and time.monotonic() < limite:
        pass  # até que o recv o leve: então espera, lá dentro, pelo outro
    return thread


titulo("Uma thread parada no recv, e outra que fecha o socket")
nosso, do_outro = socket.socketpair()
thread = parada_num_recv(nosso, do_outro)
nosso.close()
thread.join(ESPERA)
parada = thread.is_alive()
ver("close() em outra thread", f"{ESPERA:.0f} s depois, a do recv {'continua parada' if parada else 'acordou'}")
if parada:
    errado("a thread nunca saberia que o socket foi fechado")
else:
    errado("neste sistema, close() a acordou; no Linux não a acorda: não se pode contar com isso")
conferir(parada or sys.platform != "linux", "a thread parada depois do close()")
do_outro.close()  # o outro lado fecha: só assim ela acorda
thread.join(PRAZO)
porque("""No Linux, close() devolve ao sistema o número do descritor, mas a chamada que já está no kernel
segura o socket e continua esperando. Pior: o número pode ser dado a outra conexão, e quem ainda o
usa fala com ela. No macOS e no Windows close() pode acordá-la, com um erro.""")

conserto("shutdown() encerra a conexão, e a dona da thread fecha o socket")
nosso, do_outro = socket.socketpair()
thread = parada_num_recv(nosso, do_outro)
comeco = time.perf_counter()
nosso.shutdown(socket.SHUT_RDWR)
thread.join(PRAZO)
levou = f"{(time.perf_counter() - comeco) * 1000:.1f} ms".replace(".", ",")
if thread.is_alive():
    conferir(os.name == "nt", "a thread acordar com shutdown()")
    ver("shutdown() em outra thread", "a do recv continua parada: no Windows, nem ele a acorda")
    certo("por isso lá o projeto não para num recv: espera em pedaços de 0,2 s, e confere")
else:
    ver("shutdown() em outra thread", f"a do recv acordou em {levou}")
    certo("o recv seguinte devolve b'', que é o fim do fluxo, e a thread acaba")
print("\nNo projeto: atendimento/conexao.py, Conexao.cortar faz o shutdown, e só o carteiro chama Conexao.fechar.")
nosso.close(), do_outro.close()
