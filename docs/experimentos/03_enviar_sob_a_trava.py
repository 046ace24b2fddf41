"""Enviar debaixo da trava: um que não lê congela a turma inteira."""

import contextlib
import select
import socket
import threading

from experimento import PRAZO, certo, comecar, conferir, conserto, errado, porque, titulo, ver

from atendimento.filas import Filas
from participante import Anfitriao
from servidor import Servidor

titulo("sendall com a trava na mão")
trava = threading.Lock()
para_o_mudo, mudo = socket.socketpair()
entrou = threading.Event()


def falar_com_o_mudo() -> None:
    with trava, contextlib.suppress(OSError):  # o mudo foi embora: só assim isto acaba
        entrou.set()
        para_o_mudo.sendall(b"x" * 50_000_000)  # o buffer enche, e o sendall espera que o mudo leia


falante = comecar(falar_com_o_mudo)
entrou.wait(PRAZO)
conseguiu = trava.acquire(timeout=0.5)
ver("outra thread esperou pela trava", "0,5 s")
ver("e conseguiu?", "sim" if conseguiu else "não")
conferir(not conseguiu, "a trava presa")
errado("ninguém mais entra, fala nem sai enquanto o mudo não ler")
mudo.close()
falante.join(PRAZO)
para_o_mudo.close()
porque("""sendall para quando o buffer do outro enche: é a contrapressão do TCP, e é boa. O erro é parar
com a trava na mão: o problema de um passa a ser o de todos.""")

conserto("com a trava na mão, nunca se espera por um participante")
servidor = Servidor(("127.0.0.1", 0), Filas(), prazo_envio=30.0, ritmo=0)
servidor.servir()
sala = Anfitriao(servidor.server_address)
sala.atendente("Mudo", "FILA:OK")  # daqui em diante, não lê
falador = sala.cliente("Falador", "CONECTADO:Mudo")
yuri, ana = sala.par("Yuri", "Ana")
falador.sock.settimeout(0.5)
mandados, parado = 0, False
while not parado:  # outra vez, se Falador só estava lento: uma hora os buffers enchem
    with contextlib.suppress(TimeoutError):
        while True:
            mandados += falador.sock.send(b"x" * 1000 + b"\n")
    for numero in range(1000):
        yuri.envia(f"mensagem {numero}")
        ana.espera(f"[Yuri]: mensagem {numero}")
    parado = not select.select([], [falador.sock], [], 0)[1]
ver("Falador já não consegue escrever", f"depois de {mandados // 1024} KiB")
conseguiu = servidor.filas.trava.acquire(timeout=0.5)
ver("outra thread pediu a trava", "conseguiu?  " + ("sim" if conseguiu else "não"))
conferir(conseguiu, "a trava livre")
servidor.filas.trava.release()
certo("com Falador parado o tempo todo, Yuri e Ana trocaram mil mensagens")
print("\nNo projeto: atendimento/filas.py, Filas.repassar_chat solta a trava antes de enviar; atendimento/conexao.py,")
print("Conexao.escoar envia só o que couber já, e Conexao.esperar_que_escoe espera pelo resto sem nada na mão.")
sala.fecha_participantes()
servidor.encerrar(prazo=0.1)
