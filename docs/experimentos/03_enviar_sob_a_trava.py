"""Enviar debaixo da trava: um que não lê congela a turma inteira."""

import socket
import threading

from experimento import certo, conferir, errado, porque, titulo, ver

from participante import Anfitriao
from servidor import Servidor

titulo("sendall com a trava na mão")
trava = threading.Lock()
para_o_mudo, mudo = socket.socketpair()
entrou = threading.Event()


def falar_com_o_mudo() -> None:
    with trava:
        entrou.set()
        try:
            para_o_mudo.sendall(b"x" * 50_000_000)  # o buffer enche, e o sendall espera que o mudo leia
        except OSError:
            pass  # o mudo foi embora: só assim isto acaba


falante = threading.Thread(target=falar_com_o_mudo)
falante.start()
entrou.wait()
conseguiu = trava.acquire(timeout=1.0)
ver("outra thread esperou pela trava", "1,0 s")
ver("e conseguiu?", "sim" if conseguiu else "não")
conferir(not conseguiu, "a trava presa")
errado("ninguém mais entra, fala nem sai enquanto o mudo não ler")
mudo.close()
falante.join()
para_o_mudo.close()
porque("""sendall para quando o buffer do outro enche: é a contrapressão do TCP, e é boa. O erro é parar
com a trava na mão: o problema de um passa a ser o de todos.""")

titulo("O conserto: debaixo da trava, só memória")
servidor = Servidor(("127.0.0.1", 0), prazo_envio=30.0)
servidor.servir()
sala = Anfitriao(servidor.server_address)
_mudo = sala.atendente("Mudo", "FILA:OK")
falador = sala.cliente("Falador", "CONECTADO:Mudo")
yuri, ana = sala.par("Yuri", "Ana")
falador.sock.settimeout(0.5)
mandados = 0
try:
    while True:
        mandados += falador.sock.send(b"x" * 1000 + b"\n")
except TimeoutError:
    ver("Falador parou de conseguir escrever", f"depois de {mandados // 1024} KiB")
for numero in range(1000):
    yuri.envia(f"mensagem {numero}")
    ana.espera(f"[Yuri]: mensagem {numero}")
certo("com Falador parado, Yuri e Ana trocaram mil mensagens")
print("\nNo projeto: filas.py põe as linhas na caixa de saída; servidor.py, Servidor.despachar, envia depois.")
sala.fecha_participantes()
servidor.encerrar(prazo=0.1)  # Mudo não lê nem a despedida
