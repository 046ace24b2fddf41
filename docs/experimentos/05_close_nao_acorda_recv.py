"""`close()` não acorda quem está parado num `recv`; `shutdown()`, sim."""

import socket
import sys
import threading
import time
from pathlib import Path

from experimento import certo, conferir, errado, porque, titulo, ver

ESPERA = 1.0  # segundos


def parada_num_recv(sock: socket.socket) -> threading.Thread:
    """Uma thread que já está parada no `recv`."""
    comecou = threading.Event()

    def ler() -> None:
        comecou.set()
        try:
            sock.recv(1024)
        except OSError:
            pass

    thread = threading.Thread(target=ler)
    thread.start()
    comecou.wait()
    estado = Path(f"/proc/self/task/{thread.native_id}/stat")
    if not estado.exists():  # só o Linux diz se uma thread dorme
        time.sleep(0.5)
    while estado.exists() and estado.read_text().rpartition(") ")[2][0] != "S":
        time.sleep(0)
    return thread


titulo("Uma thread parada no recv, e outra que fecha o socket")
nosso, do_outro = socket.socketpair()
thread = parada_num_recv(nosso)
nosso.close()
thread.join(ESPERA)
parou = thread.is_alive()
ver("close() em outra thread", f"{ESPERA:.0f} s depois, a do recv {'continua parada' if parou else 'acordou'}")
if parou:
    errado("a thread nunca saberia que o socket foi fechado")
else:
    certo("neste sistema, close() a acordou; não é coisa com que se possa contar")
conferir(parou or sys.platform != "linux", "a thread parada depois do close()")
do_outro.close()  # o outro lado fecha: só assim ela acorda
thread.join()
porque("""close() devolve ao sistema o número do descritor; a chamada que já está no kernel segura o socket
e continua à espera. Pior: o número pode ser dado a outra conexão, e quem ainda o usa fala com ela.""")

titulo("O conserto: shutdown() encerra a conexão, e a dona da thread fecha o socket")
nosso, do_outro = socket.socketpair()
thread = parada_num_recv(nosso)
comeco = time.perf_counter()
nosso.shutdown(socket.SHUT_RDWR)
thread.join(ESPERA)
conferir(not thread.is_alive(), "a thread acordar com shutdown()")
ver("shutdown() em outra thread", f"a do recv acordou em {(time.perf_counter() - comeco) * 1000:.1f} ms")
certo("o recv volta com b'', que é o fim do fluxo")
print("\nNo projeto: servidor.py, Conexao.cortar faz o shutdown, e só o Carteiro fecha.")
nosso.close(), do_outro.close()
