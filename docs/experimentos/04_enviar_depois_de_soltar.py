"""Enviar depois de soltar a trava, sem a caixa de saída, troca a ordem das linhas."""

import socket
import threading

from experimento import PRAZO, certo, conferir, errado, juntas, porque, titulo, ver

from filas import Efeito, Participante
from participante import Anfitriao
from servidor import Servidor

titulo("Decidir sob a trava, soltar, enviar")
trava = threading.Lock()
para_ana, ana = socket.socketpair()
soltou, passou_a_frente = threading.Event(), threading.Event()


def ponto_de_troca() -> None:
    """Entre soltar a trava e enviar: aqui a outra thread roda, sempre."""
    soltou.set()
    passou_a_frente.wait(PRAZO)


def formar_par() -> None:
    with trava:
        linha = b"CONECTADO:Yuri\n"  # 1. decidido primeiro
    ponto_de_troca()
    para_ana.sendall(linha)


def falar() -> None:
    soltou.wait(PRAZO)
    with trava:
        linha = "[Yuri]: Olá!\n".encode()  # 2. decidido depois
    para_ana.sendall(linha)
    passou_a_frente.set()


juntas(formar_par, falar)
leitor = ana.makefile(encoding="utf-8", newline="\n")
lido = [leitor.readline().rstrip() for _ in range(2)]
ver("a ordem em que se decidiu", ["CONECTADO:Yuri", "[Yuri]: Olá!"])
ver("a ordem em que Ana leu", lido)
conferir(lido == ["[Yuri]: Olá!", "CONECTADO:Yuri"], "as linhas trocadas")
errado("uma mensagem antes de a conversa começar")
for aberto in leitor, ana, para_ana:
    aberto.close()
porque("""A trava ordena as decisões, e não os envios: quem soltou primeiro pode enviar por último. E
voltar a enviar com a trava na mão é o experimento 3.""")

titulo("O conserto: a caixa de saída")
soltou.clear()
passou_a_frente.clear()


class ServidorQueTroca(Servidor):
    """O servidor do projeto, com o mesmo ponto de troca: o par já foi decidido, e nada foi enviado."""

    def cumprir(self, efeito: Efeito, eu: Participante | None = None) -> None:
        if any(marca == "MATCHMAKER" for marca, _ in efeito.registros):
            ponto_de_troca()
        super().cumprir(efeito, eu)


servidor = ServidorQueTroca(("127.0.0.1", 0))
servidor.servir()
sala = Anfitriao(servidor.server_address)
yuri = sala.cliente("Yuri", "FILA:1")
ana = sala.atendente("Ana")  # a thread de Ana forma o par, solta a trava e para no ponto de troca
conferir(soltou.wait(PRAZO), "o par formado")
yuri.envia("[Yuri]: Olá!")
lido = [ana.linha(), ana.linha()]  # a thread de Ana continua parada: só pode ser a de Yuri quem enviou
ver("a ordem em que Ana leu", lido)
passou_a_frente.set()
yuri.espera("CONECTADO:Ana")
conferir(lido == ["CONECTADO:Yuri", "[Yuri]: Olá!"], "as linhas na ordem")
certo("a thread de Yuri enviou as duas, na ordem da caixa: quem envia leva tudo o que há nela")
print("\nNo projeto: filas.py, Participante.caixa e Filas.recolher; servidor.py, Servidor.despachar.")
sala.fecha_participantes()
servidor.encerrar()
