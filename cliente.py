"""O programa do cliente: entra na fila, espera a sua vez e conversa com um atendente.

São duas threads, porque são duas as coisas que bloqueiam: a de leitura (`ouvir_servidor`) fica parada no `recv`,
esperando o servidor; a principal (`conversar`), no teclado, esperando a pessoa.
"""

import argparse
import itertools
import socket
import sys
import threading

from atendimento.tela import Tela
from atendimento.terminal import analisador_de_conversa
from protocolo import (
    Aviso,
    Comando,
    Conectado,
    Entrada,
    Fila,
    Fim,
    Json,
    Mensagem,
    Pergunta,
    Resposta,
    Texto,
    Tipo,
    comandos_do_servidor,
)


class Cliente:
    """Quem espera e conversa. O atendente faz o mesmo, e só redefine o que nele é diferente."""

    tipo = Tipo.CLIENTE
    descricao = "Cliente da fila de atendimento: espera a vez e conversa com um atendente."
    ajuda_do_departamento = "o departamento procurado; sem ele, o programa pergunta"
    pergunta_do_nome = "Digite seu nome: "
    ja_entrou = "Procurando um atendente..."

    def __init__(self, sock: socket.socket, tela: Tela, opcoes: argparse.Namespace) -> None:
        self.sock = sock
        self.tela = tela
        self.opcoes = opcoes
        self.formato = Json() if opcoes.json else Texto()
        self.comandos = comandos_do_servidor(sock.recv, self.formato)  # cada `next` bloqueia até haver um
        self.nome = ""

    def enviar(self, comando: Comando) -> None:
        self.sock.sendall(self.formato.codificar(comando))

    def identificar(self) -> bool:
        """Diz o tipo e responde ao que o servidor pergunta, até estar na fila; `False` se fomos recusados."""
        self.enviar(Entrada(self.tipo, self.opcoes.departamento))
        for comando in self.comandos:
            match comando:
                case Pergunta(campo, opcoes):
                    self.enviar(Resposta(campo, self.responder(campo, opcoes)))
                case Fim(motivo):
                    self.tela.mostrar(f"*** {motivo} ***", "vermelho")
                    return False
                case _ if self.nome:
                    self.comandos = itertools.chain([comando], self.comandos)  # já é da conversa
                    return True
        self.tela.mostrar("*** Desconectado do servidor. ***", "vermelho")
        return False

    def responder(self, campo: str, opcoes: tuple[str, ...]) -> str:
        """O que a pessoa responde a uma pergunta do servidor; o que já veio nas opções não se pergunta."""
        if campo == "senha":
            return self.tela.perguntar_senha("Senha dos atendentes: ")
        if campo == "departamento":
            return self.tela.perguntar_departamento(opcoes, varios=self.tipo is Tipo.ATENDENTE)
        self.nome = self.opcoes.nome or self.tela.perguntar_nome(self.pergunta_do_nome)
        return self.nome

    # A thread de leitura.

    def ouvir_servidor(self) -> None:
        """Mostra tudo o que o servidor diz, até o fim da conversa ou da conexão."""
        tela = self.tela
        try:
            for comando in self.comandos:
                match comando:
                    case Fila(posicao):
                        self.mostrar_fila(posicao)
                    case Conectado(nome):
                        tela.conversa(em_curso=True)
                        tela.mostrar(f"*** Conexão estabelecida! Você está falando com {nome}. ***", "verde", tocar=True)
                    case Mensagem(nome, textos):
                        tela.mostrar("\n".join(f"[{nome}]: {texto}" for texto in textos))
                    case Aviso(mensagem):
                        tela.mostrar(f"({mensagem})", "amarelo")
                    case Fim(mensagem):
                        if self.acabou(mensagem):
                            return
            if not tela.saindo:
                tela.mostrar("*** Desconectado do servidor. ***", "vermelho")
        except OSError:
            tela.mostrar("*** A conexão com o servidor caiu. ***", "vermelho")
        finally:
            tela.encerrar()

    def mostrar_fila(self, posicao: int | None) -> None:
        """Mostra a posição; só o atendente tem a fila sem número."""
        if posicao is None:
            return
        self.tela.mostrar(f"(Você é o número {posicao} na fila. Por favor, aguarde...)", "amarelo")

    def acabou(self, mensagem: str) -> bool:
        """Mostra o fim da conversa; diz se com ela acaba também o programa."""
        self.tela.mostrar(f"*** {mensagem} ***\n*** Sessão encerrada. ***", "verde")
        return True

    # A thread principal.

    def conversar(self) -> None:
        """Envia o que a pessoa digita, até ela sair ou a conversa acabar."""
        leitura = threading.Thread(target=self.ouvir_servidor, name="leitura", daemon=True)
        leitura.start()
        try:
            while (linha := self.tela.ler()) is not None:
                if comando := self.interpretar(linha):
                    self.enviar(comando)
            self.tela.sair()
            # Só o nosso lado do fluxo acaba aqui: o que já foi enviado chega, e o que falta ler, também.
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # a conexão caiu, e a thread de leitura já o disse
        leitura.join(timeout=2)

    def interpretar(self, linha: str) -> Comando | None:
        """O comando que a linha digitada manda ao servidor, se manda algum."""
        return self.tela.interpretar(linha, self.nome)


def main(programa: type[Cliente] = Cliente) -> int:
    """O comando `python cliente.py` e, com o `Atendente`, `python atendente.py`."""
    opcoes = analisador_de_conversa(programa.descricao, programa.ajuda_do_departamento).parse_args()
    tela = Tela(programa.tipo, som=not opcoes.sem_som)
    with tela.erros_para_gente(), socket.create_connection((opcoes.host, opcoes.porta), timeout=10) as sock:
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # cada linha parte na hora
        alguem = programa(sock, tela, opcoes)
        if not alguem.identificar():
            return 1
        tela.mostrar(alguem.ja_entrou)
        alguem.conversar()
    return 0


if __name__ == "__main__":
    sys.exit(main())
