"""Enviar depois de soltar a trava, sem a caixa de saída, troca a ordem das linhas."""

import socket
import threading

from experimento import certo, conferir, errado, porque, titulo, ver

from filas import Filas, Participante
from protocolo import Mensagem, Tipo

titulo("Decidir sob a trava, soltar, enviar")
trava = threading.Lock()
para_ana, ana = socket.socketpair()
soltou, passou_a_frente = threading.Event(), threading.Event()


def formar_par() -> None:
    with trava:
        linha = b"CONECTADO:Yuri\n"  # 1. decidido primeiro
    soltou.set()
    passou_a_frente.wait()  # o ponto de troca: a outra thread roda entre soltar e enviar
    para_ana.sendall(linha)


def falar() -> None:
    soltou.wait()
    with trava:
        linha = "[Yuri]: Olá!\n".encode()  # 2. decidido depois
    para_ana.sendall(linha)
    passou_a_frente.set()


def juntas(*alvos) -> None:
    threads = [threading.Thread(target=alvo) for alvo in alvos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


juntas(formar_par, falar)
lido = ana.recv(1024).decode().splitlines()
ver("a ordem em que se decidiu", ["CONECTADO:Yuri", "[Yuri]: Olá!"])
ver("a ordem em que Ana leu", lido)
conferir(lido == ["[Yuri]: Olá!", "CONECTADO:Yuri"], "as linhas trocadas")
errado("uma mensagem antes de a conversa começar")
porque("""A trava ordena as decisões, e não os envios: quem soltou primeiro pode enviar por último. E
voltar a enviar com a trava na mão é o experimento 3.""")

titulo("O conserto: a caixa de saída")
filas, do_yuri, da_ana = Filas(), Participante(), Participante()
for eu in (do_yuri, da_ana):
    filas.admitir(eu)
filas.entrar(da_ana, Tipo.ATENDENTE, "Ana")
filas.recolher(da_ana)
soltou.clear(), passou_a_frente.clear()


def enviar_o_que_houver() -> None:
    linhas, _ = filas.recolher(da_ana)
    para_ana.sendall(linhas)


def formar_par_com_caixa() -> None:
    filas.entrar(do_yuri, Tipo.CLIENTE, "Yuri")  # decide e põe na caixa, na mesma seção crítica
    soltou.set()
    passou_a_frente.wait()  # o mesmo ponto de troca
    enviar_o_que_houver()


def falar_com_caixa() -> None:
    soltou.wait()
    filas.repassar_chat(do_yuri, Mensagem("Yuri", ["Olá!"]))
    enviar_o_que_houver()  # quem envia leva tudo o que já está na caixa, também o que é dos outros
    passou_a_frente.set()


juntas(formar_par_com_caixa, falar_com_caixa)
lido = ana.recv(1024).decode().splitlines()
ver("a ordem em que Ana leu", lido)
conferir(lido == ["CONECTADO:Yuri", "[Yuri]: Olá!"], "as linhas na ordem")
certo("a ordem da caixa é a das decisões, envie quem enviar")
print("\nNo projeto: filas.py, Participante.caixa e Filas.recolher; servidor.py, Servidor.despachar.")
para_ana.close(), ana.close()
