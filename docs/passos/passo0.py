"""Passo 0: como quase todo primeiro servidor de sockets. Funciona numa demonstração."""

import socket
import sys
import threading

trava = threading.Lock()  # guarda as listas e, de cada pessoa, quem é e com quem fala
fila_clientes, fila_atendentes = [], []
FILAS = {"CLIENTE": fila_clientes, "ATENDENTE": fila_atendentes}


class Pessoa(threading.Thread):
    """Quem se conectou, e a thread que a ouve. `ouvir`, `acabar` e `contar` exigem a trava."""

    def __init__(self, sock):
        super().__init__()
        self.tipo, self.nome, self.par = "", "", None
        self.sock = sock

    def run(self):
        while dados := self.sock.recv(1024):
            trava.acquire()
            self.ouvir(dados.decode().strip())
            trava.release()
        trava.acquire()
        self.acabar("desconectou")
        trava.release()
        self.sock.close()

    def ouvir(self, linha):
        if not self.tipo:
            self.tipo = linha
            self.contar("NOME:")
        elif not self.nome:
            self.nome = linha
            FILAS[self.tipo].append(self)
            tentar_formar_par()
        elif self.par:
            self.par.contar(f"[{self.nome}]: {linha}")

    def acabar(self, fez):
        par, self.par = self.par, None
        if par:
            par.par = None
            par.contar(f"FIM:Atendimento encerrado. O {self.tipo.lower()} {self.nome} {fez}.")
            if par.tipo == "ATENDENTE":
                fila_atendentes.append(par)
            else:
                par.sock.close()
        elif self.nome:
            FILAS[self.tipo].remove(self)
        tentar_formar_par()

    def contar(self, linha):
        self.sock.send(linha.encode())


def tentar_formar_par():
    if fila_clientes and fila_atendentes:
        cliente, atendente = fila_clientes.pop(0), fila_atendentes.pop(0)
        for um, outro in (cliente, atendente), (atendente, cliente):
            um.par = outro
            um.contar(f"CONECTADO:{outro.nome}")
    else:
        for posicao, quem in [*enumerate(fila_clientes, 1), *(("OK", quem) for quem in fila_atendentes)]:
            quem.contar(f"FILA:{posicao}")


porta = int(sys.argv[-1]) if sys.argv[1:] else 12345
ouvinte = socket.socket()
ouvinte.bind(("", porta))
ouvinte.listen(5)
while True:
    Pessoa(ouvinte.accept()[0]).start()
