"""Enviar depois de soltar a trava troca a ordem das linhas; de mãos dadas, não."""

import socket
import threading

from experimento import PRAZO, certo, conferir, conserto, errado, juntas, porque, titulo, ver

from atendimento.conexao import Conexao
from atendimento.filas import Filas
from protocolo import Mensagem, Tipo

titulo("Decidir sob a trava, soltar, enviar")
trava = threading.Lock()
para_ana, ana = socket.socketpair()
soltou, passou_a_frente = threading.Event(), threading.Event()


def formar_par() -> None:
    with trava:
        linha = b"CONECTADO:Yuri\n"  # 1. decidido primeiro
    soltou.set()
    passou_a_frente.wait(PRAZO)  # o ponto de troca, entre soltar a trava e enviar: a outra thread roda aqui, sempre
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
porque("""A trava ordena as decisões, e não os envios: quem soltou primeiro pode enviar por último. E
voltar a enviar com a trava na mão é o experimento 3.""")

conserto("de mãos dadas")
soltou, teve_de_esperar = threading.Event(), threading.Event()


class VezVigiada:
    """Uma `Lock` que conta quando alguém a quer e tem de esperar."""

    def __init__(self) -> None:
        self._vez = threading.Lock()
        self.release, self.locked = self._vez.release, self._vez.locked

    def acquire(self) -> None:
        if not self._vez.acquire(blocking=False):
            teve_de_esperar.set()
            self._vez.acquire()


class ConexaoComPontoDeTroca(Conexao):
    """A do projeto. Entre soltar a trava e o primeiro envio, a outra thread pode fazer o que quiser."""

    def entregar(self, comandos: list) -> None:
        if not soltou.is_set():
            soltou.set()
            teve_de_esperar.wait(PRAZO)
        super().entregar(comandos)


def ninguem_cuida(_: Conexao) -> None:
    """O carteiro de uma conexão que nunca tem sobras."""


filas = Filas()
para_yuri, yuri = socket.socketpair()
conexao_de_yuri, conexao_de_ana = Conexao(para_yuri, ninguem_cuida), ConexaoComPontoDeTroca(para_ana, ninguem_cuida)
conexao_de_ana.vez = VezVigiada()
for conexao in conexao_de_yuri, conexao_de_ana:
    filas.admitir(conexao)
filas.entrar(conexao_de_yuri, Tipo.CLIENTE, "Yuri")


def falar_pelo_projeto() -> None:
    soltou.wait(PRAZO)
    filas.repassar_chat(conexao_de_yuri, Mensagem("Yuri", ["Olá!"]))  # toma a trava, e quer a vez de Ana


juntas(lambda: filas.entrar(conexao_de_ana, Tipo.ATENDENTE, "Ana"), falar_pelo_projeto)
ver("a outra thread quis a vez de Ana", "e teve de esperar" if teve_de_esperar.is_set() else "e a encontrou livre")
conferir(teve_de_esperar.is_set(), "a outra thread esperando pela vez")
lido = [leitor.readline().rstrip() for _ in range(2)]
ver("a ordem em que Ana leu", lido)
conferir(lido == ["CONECTADO:Yuri", "[Yuri]: Olá!"], "as linhas na ordem")
certo("a vez de Ana foi tomada ainda com a trava na mão: ninguém chegou a ela antes")
porque("""Uma mão só solta a trava depois que a outra já segura a vez de quem vai receber. A outra thread
espera com a trava na mão, e pode: quem tem a vez só envia o que o sistema aceita na hora. Aqui
demorou porque o ponto de troca a fez demorar.""")
print("\nNo projeto: atendimento/filas.py, Fato.contar toma a vez, e Fato.__exit__ solta a trava e envia.")
for aberto in leitor, ana, para_ana, yuri, para_yuri:
    aberto.close()
