"""Passo 6: enviar nunca espera. O que não cabe fica na caixa, e só quem fala espera por ela."""

import contextlib
import select
import socket
import sys
import threading
import time

MAXIMO = 4096  # bytes de uma linha
trava = threading.Lock()  # guarda as listas e, de cada pessoa, quem é e com quem fala
fila_clientes, fila_atendentes = [], []
FILAS = {"CLIENTE": fila_clientes, "ATENDENTE": fila_atendentes}
ouvem = []  # de quem o fato em curso tomou a vez


class Pessoa(threading.Thread):
    """Quem se conectou, e a thread que a ouve. `ouvir`, `acabar` e `contar` exigem a trava; `escoar`, a vez."""

    def __init__(self, sock):
        super().__init__(daemon=True)
        self.tipo, self.nome, self.par, self.sabe, self.saiu = "", "", None, "", False
        self.sock, self.vez, self.caixa = sock, threading.Lock(), b""  # a vez guarda a caixa e o envio

    def run(self):
        resto = b""
        with contextlib.suppress(OSError):
            while dados := self.sock.recv(65536):
                *linhas, resto = (resto + dados).split(b"\n")
                for linha in linhas:
                    with fato():
                        self.ouvir(linha.decode(errors="replace").removesuffix("\r"), len(linha) < MAXIMO)
                    while (ouve := self.par or self).caixa:  # quem fala com quem lê devagar espera, sem nada na mão
                        time.sleep(0.01)
                        with ouve.vez:
                            ouve.escoar()
                resto = resto[:MAXIMO]  # o bastante para saber que passou
        with fato():
            self.saiu = True
            self.acabar("desconectou")
        with self.vez:
            self.sock.close()

    def ouvir(self, linha, cabe):
        inteira = f"[{self.nome}]: " + linha.removeprefix(f"[{self.nome}]: ")
        if self.saiu or not self.tipo and not linha.strip():
            return
        if not self.tipo and linha in FILAS:
            self.tipo = linha
            self.contar("NOME:")
        elif not self.tipo:
            self.contar("FIM:Tipo inválido: envie CLIENTE ou ATENDENTE.", saiu=True)
        elif not self.nome and 1 <= len(linha.strip()) <= 40 and not set("[]") & set(linha):
            self.nome = linha.strip()
            FILAS[self.tipo].append(self)
            tentar_formar_par()
        elif not self.nome:
            self.contar("FIM:Nome inválido: use de 1 a 40 caracteres, sem colchetes.", saiu=True)
        elif not cabe or len(inteira.encode()) >= MAXIMO:
            self.contar("AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada.")
        elif linha.startswith("FIM:"):
            self.acabar("encerrou a conversa")
        elif self.par and inteira.strip() != f"[{self.nome}]:":
            self.par.contar(inteira)

    def acabar(self, fez):
        par, self.par = self.par, None
        if par:
            par.par = None
            par.contar(f"FIM:Atendimento encerrado. O {self.tipo.lower()} {self.nome} {fez}.", par.tipo == "CLIENTE")
            self.contar(f"FIM:Atendimento encerrado. Você {fez}.", self.tipo == "CLIENTE")
            fila_atendentes.extend(um for um in (self, par) if not um.saiu)
        elif self in fila_clientes or self.saiu and self in fila_atendentes:
            FILAS[self.tipo].remove(self)
            self.contar("FIM:Você saiu da fila.", saiu=True)
        tentar_formar_par()

    def contar(self, linha, saiu=False):
        if self not in ouvem:
            self.vez.acquire()  # daqui até o envio, a vez dela é deste fato
            ouvem.append(self)
        self.caixa += b"" if self.saiu else f"{linha}\n".encode()
        self.saiu = self.saiu or saiu

    def escoar(self):
        try:
            while self.caixa and select.select([], [self.sock], [], 0)[1]:
                self.caixa = self.caixa[self.sock.send(self.caixa[:1024]) :]  # onde cabe algo, cabe um KiB
            if self.saiu and not self.caixa:
                self.sock.shutdown(socket.SHUT_RDWR)
        except (OSError, ValueError):  # o outro se foi; `ValueError`: a thread dele já fechou o socket
            self.caixa = b""


@contextlib.contextmanager
def fato():
    """De mãos dadas: a trava e as vezes de quem ouve; solta a trava, envia, solta as vezes."""
    with trava:
        yield
        maos, ouvem[:] = ouvem[:], []
    for quem in maos:
        quem.escoar()
        quem.vez.release()


def tentar_formar_par():
    while fila_clientes and fila_atendentes:
        cliente, atendente = fila_clientes.pop(0), fila_atendentes.pop(0)
        for um, outro in (cliente, atendente), (atendente, cliente):
            um.par, um.sabe = outro, ""
            um.contar(f"CONECTADO:{outro.nome}")
    for posicao, quem in [*enumerate(fila_clientes, 1), *(("OK", quem) for quem in fila_atendentes)]:
        if quem.sabe != posicao:
            quem.sabe = posicao
            quem.contar(f"FILA:{posicao}")


porta = int(sys.argv[-1]) if sys.argv[1:] else 12345
with socket.create_server(("", porta), backlog=1024) as ouvinte, contextlib.suppress(KeyboardInterrupt):
    while True:
        Pessoa(ouvinte.accept()[0]).start()
