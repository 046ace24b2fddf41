"""Solução 12: o mesmo servidor com uma thread só, e `selectors`.

    python docs/solucoes/s12_uma_thread_so.py 12345

As filas e o protocolo são os do projeto, sem mudar uma linha: é para isso que não conhecem sockets.
O que muda é quem espera. Com uma thread por conexão, cada uma espera no seu `recv`; aqui, uma só
espera por todos em `select`, e nenhuma operação pode bloquear. O que era a vida de uma conexão, uma
função que se lê de cima a baixo, vira um estado guardado entre um evento e outro (`passo`).

As filas entregam o que contam ao participante, e entregar aqui é só pôr na caixa: quem envia é o laço,
quando o socket aceita. Com uma thread só, a trava e as vezes estão sempre livres.

Ficou de fora: prazos, senha, os outros pedidos, despedida, contrapressão. Acrescente um e compare com o do projeto.
"""

import selectors
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from atendimento.filas import FIM_DE_FLUXO, LONGA_DEMAIS, Filas, Participante  # noqa: E402
from protocolo import (  # noqa: E402
    Aviso,
    Comando,
    Fim,
    LinhaLonga,
    Mensagem,
    Pergunta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    validar_nome,
)


class Conexao(Participante):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock
        self.formato = Texto()
        self.separador = SeparadorDeLinhas()
        self.caixa = b""  # o que ainda não foi enviado
        self.acabou = False  # depois do que está na caixa, o fim do fluxo
        self.passo: Callable[[str | None], None] | None = None  # o que fazer com a próxima linha da identificação

    def por_na_caixa(self, comandos: Sequence[Comando | None]) -> None:
        for comando in comandos:
            if comando is FIM_DE_FLUXO:
                self.acabou = True
            else:
                self.caixa += self.formato.codificar(comando)

    entregar = por_na_caixa


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
        quem = Conexao(sock)
        quem.passo = lambda linha: self.ouvir_o_tipo(quem, linha)
        self.conexoes.add(quem)
        self.seletor.register(sock, selectors.EVENT_READ, lambda eventos: self.acontecer(quem, eventos))
        self.filas.admitir(quem)

    def acontecer(self, quem: Conexao, eventos: int) -> None:
        if quem not in self.conexoes:  # um evento anterior da mesma volta do laço a fechou
            return
        try:
            if eventos & selectors.EVENT_READ:
                dados = quem.sock.recv(65536)
                if not dados:
                    raise ConnectionError
                self.ler(quem, quem.separador.alimentar(dados))
            if eventos & selectors.EVENT_WRITE:
                quem.caixa = quem.caixa[quem.sock.send(quem.caixa) :]
        except OSError:
            self.fechar(quem)

    def ler(self, quem: Conexao, linhas: list[str | Aviso | None]) -> None:
        while linhas and quem.passo:
            linha = linhas.pop(0)
            if isinstance(linha, Aviso):
                self.filas.responder(quem, linha)
            else:
                quem.passo(linha)
        for comando in quem.formato.ler_participante(linhas):
            match comando:  # um Python velho desiste aqui: use o 3.10
                case Mensagem():
                    self.filas.repassar_chat(quem, comando)
                case Fim():
                    self.filas.atender(quem, comando)
                case LinhaLonga():
                    self.filas.responder(quem, LONGA_DEMAIS)
                case Aviso():
                    self.filas.responder(quem, comando)

    # A identificação, um passo por linha.

    def ouvir_o_tipo(self, quem: Conexao, linha: str | None) -> None:
        if linha is not None and not linha.strip():
            return  # quem aperta Enter ao conectar não é recusado
        try:
            tipo = quem.formato.ler_entrada(linha).tipo
        except ValueError as erro:
            self.recusar(quem, erro)
        else:
            self.filas.responder(quem, Pergunta("nome"))
            quem.passo = lambda linha: self.ouvir_o_nome(quem, tipo, linha)

    def ouvir_o_nome(self, quem: Conexao, tipo: Tipo, linha: str | None) -> None:
        try:
            nome = validar_nome(linha or "")
        except ValueError as erro:
            self.recusar(quem, erro)
        else:
            quem.passo, quem.formato = None, Texto(nome)
            self.filas.entrar(quem, tipo, nome)

    def recusar(self, quem: Conexao, erro: ValueError) -> None:
        quem.passo = lambda linha: None  # o que ele ainda disser não interessa
        self.filas.recusar(quem, Fim(str(erro)))

    # O que sai.

    def atualizar_interesses(self) -> None:
        """Só se espera poder escrever a quem há o que escrever; fecha quem já leu tudo e acabou."""
        if self.filas.posicoes_mudaram:
            self.filas.publicar_posicoes()
        for quem in list(self.conexoes):
            if quem.acabou and not quem.caixa:
                self.fechar(quem)
            else:
                interesse = selectors.EVENT_READ | (selectors.EVENT_WRITE if quem.caixa else 0)
                self.seletor.modify(quem.sock, interesse, self.seletor.get_key(quem.sock).data)

    def fechar(self, quem: Conexao) -> None:
        self.conexoes.discard(quem)
        self.seletor.unregister(quem.sock)
        quem.sock.close()
        self.filas.sair(quem)


if __name__ == "__main__":
    try:
        porta = int(sys.argv[1])
    except (IndexError, ValueError):
        sys.exit(__doc__)
    Servidor(porta).servir()
