"""Solução 12: o mesmo servidor com uma thread só, e `selectors`.

    python docs/solucoes/s12_uma_thread_so.py 12345

As filas e o protocolo são os do projeto, sem mudar uma linha: é para isso que não conhecem sockets.
O que muda é quem espera. Com uma thread por conexão, cada uma espera no seu `recv`; aqui, uma só
espera por todos em `select`, e nenhuma operação pode bloquear. O que era a vida de uma conexão, uma
função que se lê de cima a baixo, vira um estado guardado entre um evento e outro (`passo`).

Ficou de fora: prazos, senha, os outros pedidos, despedida, contrapressão. Acrescente um e compare com o do projeto.
"""

import contextlib
import selectors
import socket
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from filas import LONGA_DEMAIS, Efeito, Filas, Participante  # noqa: E402
from protocolo import Fim, LinhaLonga, Mensagem, Pergunta, SeparadorDeLinhas, Tipo, validar_nome  # noqa: E402


class Conexao(Participante):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock
        self.separador = SeparadorDeLinhas()
        self.na_mao = b""  # recolhido da caixa e ainda não enviado
        self.acabou = False  # depois do que está na mão, o fim do fluxo
        self.passo: Callable[[str | None], None] | None = None  # o que fazer com a próxima linha da identificação


class Servidor:
    """Serve até `parar` ser chamado, de outra thread ou de um sinal."""

    def __init__(self, porta: int) -> None:
        self.filas = Filas()
        self.seletor = selectors.DefaultSelector()
        self.ouvinte = socket.create_server(("127.0.0.1", porta))
        self.ouvinte.setblocking(False)
        self.acordador, self.acordado = socket.socketpair()  # um select parado só acorda por um socket
        self.seletor.register(self.ouvinte, selectors.EVENT_READ, self.aceitar)
        self.seletor.register(self.acordado, selectors.EVENT_READ, None)
        self.conexoes: set[Conexao] = set()

    def servir(self) -> None:
        while True:
            for chave, eventos in self.seletor.select():
                if chave.data is None:
                    return self.encerrar()
                chave.data(eventos)
                self.atualizar_interesses()

    def parar(self) -> None:
        self.acordador.send(b"x")

    def encerrar(self) -> None:
        for conexao in list(self.conexoes):
            self.fechar(conexao)
        for sock in (self.ouvinte, self.acordador, self.acordado):
            sock.close()
        self.seletor.close()

    # Os eventos.

    def aceitar(self, _: int) -> None:
        try:
            sock, _ = self.ouvinte.accept()
        except OSError:  # desistiu entre o aviso do select e agora: um erro aqui pararia o servidor inteiro
            return
        sock.setblocking(False)
        eu = Conexao(sock)
        eu.passo = lambda linha: self.ouvir_o_tipo(eu, linha)
        self.conexoes.add(eu)
        self.seletor.register(sock, selectors.EVENT_READ, lambda eventos: self.acontecer(eu, eventos))
        self.filas.admitir(eu)

    def acontecer(self, eu: Conexao, eventos: int) -> None:
        try:
            if eventos & selectors.EVENT_READ:
                dados = eu.sock.recv(65536)
                if not dados:
                    raise ConnectionError
                self.ler(eu, eu.separador.alimentar(dados))
            if eventos & selectors.EVENT_WRITE:
                eu.na_mao = eu.na_mao[eu.sock.send(eu.na_mao) :]
        except OSError:
            self.fechar(eu)

    def ler(self, eu: Conexao, linhas: list[str | None]) -> None:
        while linhas and eu.passo:
            eu.passo(linhas.pop(0))
        for comando in eu.formato.ler_participante(linhas):
            match comando:
                case Mensagem():
                    self.filas.repassar_chat(eu, comando)
                case Fim():
                    self.filas.encerrar(eu)
                case LinhaLonga():
                    self.filas.responder(eu, LONGA_DEMAIS)

    # A identificação, um passo por linha.

    def ouvir_o_tipo(self, eu: Conexao, linha: str | None) -> None:
        try:
            tipo = eu.formato.ler_entrada(linha).tipo
        except ValueError as erro:
            self.recusar(eu, erro)
        else:
            self.filas.responder(eu, Pergunta("nome"))
            eu.passo = lambda linha: self.ouvir_o_nome(eu, tipo, linha)

    def ouvir_o_nome(self, eu: Conexao, tipo: Tipo, linha: str | None) -> None:
        try:
            nome = validar_nome(linha or "")
        except ValueError as erro:
            self.recusar(eu, erro)
        else:
            eu.passo = None
            self.filas.entrar(eu, tipo, nome)

    def recusar(self, eu: Conexao, erro: ValueError) -> None:
        eu.passo = lambda linha: None  # o que ele ainda disser não interessa
        self.filas.recusar(eu, Fim(str(erro)))

    # O que sai.

    def atualizar_interesses(self) -> None:
        """Recolhe as caixas; só se espera poder escrever a quem há o que escrever."""
        if self.filas.posicoes_mudaram:
            self.filas.publicar_posicoes()
        for eu in list(self.conexoes):
            if eu.caixa or eu.retirado:
                linhas, eu.acabou = self.filas.recolher(eu)
                eu.na_mao += linhas
            if eu.acabou and not eu.na_mao:
                self.fechar(eu)
            else:
                interesse = selectors.EVENT_READ | (selectors.EVENT_WRITE if eu.na_mao else 0)
                self.seletor.modify(eu.sock, interesse, self.seletor.get_key(eu.sock).data)

    def fechar(self, eu: Conexao) -> Efeito:
        self.conexoes.discard(eu)
        with contextlib.suppress(KeyError):
            self.seletor.unregister(eu.sock)
        eu.sock.close()
        return self.filas.sair(eu)


if __name__ == "__main__":
    Servidor(int(sys.argv[1])).servir()
