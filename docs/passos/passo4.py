"""Passo 4: com a trava na mão só se decide. Envia-se depois de soltá-la."""

import contextlib
import socket
import sys
import threading

MAXIMO = 4096  # bytes de uma linha
trava = threading.Lock()  # guarda as listas e, de cada pessoa, quem é e com quem fala
fila_clientes, fila_atendentes = [], []
FILAS = {"CLIENTE": fila_clientes, "ATENDENTE": fila_atendentes}
a_enviar = []  # o que o fato em curso conta: (a quem, bytes, se é a última linha)


class Pessoa(threading.Thread):
    """Quem se conectou, e a thread que a ouve. `ouvir`, `acabar` e `contar` exigem a trava."""

    def __init__(self, sock):
        super().__init__(daemon=True)
        self.tipo, self.nome, self.par, self.sabe, self.saiu = "", "", None, "", False
        self.sock = sock

    def run(self):
        resto = b""
        with contextlib.suppress(OSError):
            while dados := self.sock.recv(65536):
                *linhas, resto = (resto + dados).split(b"\n")
                for linha in linhas:
                    with fato():
                        self.ouvir(linha.decode(errors="replace").removesuffix("\r"), len(linha) < MAXIMO)
                resto = resto[:MAXIMO]  # o bastante para saber que passou
        with fato():
            self.saiu = True
            self.acabar("desconectou")
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
        if not self.saiu:
            a_enviar.append((self, f"{linha}\n".encode(), saiu))
        self.saiu = self.saiu or saiu

    def enviar(self, dados, ultima):
        with contextlib.suppress(OSError):
            self.sock.sendall(dados)
            if ultima:
                self.sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def fato():
    """Toma a trava, decide, solta a trava; só então envia."""
    with trava:
        yield
        envios, a_enviar[:] = a_enviar[:], []
    for quem, dados, ultima in envios:
        quem.enviar(dados, ultima)


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
