"""O programa do cliente: entra na fila, espera a sua vez e conversa com um atendente.

São duas threads, porque são duas as coisas que bloqueiam: a de leitura fica parada no `recv`, à
espera do servidor; a principal, no `input()`, à espera da pessoa.
"""

import socket
import sys
import threading
from collections.abc import Iterator

from protocolo import (
    Aviso,
    Comando,
    Conectado,
    Entrada,
    Fila,
    Fim,
    Mensagem,
    Pergunta,
    Resposta,
    Texto,
    Tipo,
    comandos_do_servidor,
)
from terminal import Tela, analisador_de_conversa


def identificar(sock: socket.socket, comandos: Iterator[Comando], tela: Tela, nome: str | None) -> str | None:
    """Diz o tipo e o nome, quando o servidor o pede. Devolve o nome, ou `None` se fomos recusados."""
    formato = Texto()
    sock.sendall(formato.codificar(Entrada(Tipo.CLIENTE)))
    for comando in comandos:
        match comando:
            case Pergunta("nome"):
                nome = nome or tela.perguntar_nome("Digite seu nome: ")
                sock.sendall(formato.codificar(Resposta("nome", nome)))
                return nome
            case Fim(motivo):
                tela.mostrar(f"*** {motivo} ***", "vermelho")
                return None
    tela.mostrar("*** Desconectado do servidor. ***", "vermelho")
    return None


def ouvir_servidor(comandos: Iterator[Comando], tela: Tela) -> None:
    """A thread de leitura: mostra tudo o que o servidor diz, até o fim da conversa ou da conexão."""
    try:
        for comando in comandos:
            match comando:
                case Fila(posicao):
                    tela.mostrar(f"(Você é o número {posicao} na fila. Por favor, aguarde...)", "amarelo")
                case Conectado(nome):
                    tela.conversa(em_curso=True)
                    tela.mostrar(f"*** Conexão estabelecida! Você está falando com {nome}. ***", "verde")
                case Mensagem(nome, textos):
                    tela.mostrar("\n".join(f"[{nome}]: {texto}" for texto in textos))
                case Aviso(mensagem):
                    tela.mostrar(f"({mensagem})", "amarelo")
                case Fim(mensagem):
                    tela.mostrar(f"*** {mensagem} ***\n*** Sessão encerrada. ***", "verde")
                    return
        if not tela.saindo:
            tela.mostrar("*** Desconectado do servidor. ***", "vermelho")
    except OSError:
        tela.mostrar("*** A conexão com o servidor caiu. ***", "vermelho")
    finally:
        tela.encerrar()


def conversar(sock: socket.socket, comandos: Iterator[Comando], tela: Tela, nome: str) -> None:
    """A thread principal: envia o que a pessoa digita, até ela sair ou a conversa acabar."""
    leitura = threading.Thread(target=ouvir_servidor, args=(comandos, tela), name="leitura", daemon=True)
    leitura.start()
    formato = Texto()
    try:
        while (linha := tela.ler()) is not None:
            if comando := tela.interpretar(linha, nome):
                sock.sendall(formato.codificar(comando))
        tela.sair()
        # Só o nosso lado do fluxo acaba aqui: o que já foi enviado chega, e o que falta ler, também.
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # a conexão caiu, e a thread de leitura já o disse
    leitura.join(timeout=2)


def main() -> int:
    """O comando `python cliente.py`."""
    opcoes = analisador_de_conversa("Cliente da fila de atendimento: espera a vez e conversa com um atendente.").parse_args()
    tela = Tela()
    with tela.erros_para_gente(), socket.create_connection((opcoes.host, opcoes.porta), timeout=10) as sock:
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # cada linha parte na hora
        comandos = comandos_do_servidor(sock.recv)
        nome = identificar(sock, comandos, tela, opcoes.nome)
        if nome is None:
            return 1
        tela.mostrar("Procurando um atendente...")
        conversar(sock, comandos, tela, nome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
