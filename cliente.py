"""O programa do cliente: entra na fila, espera a sua vez e conversa com um atendente.

São duas threads, porque são duas as coisas que bloqueiam: a de leitura fica parada no `recv`, à
espera do servidor; a principal, no `input()`, à espera da pessoa.
"""

import itertools
import socket
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator

from protocolo import (
    Aviso,
    Comando,
    Conectado,
    Entrada,
    Fila,
    Fim,
    Formato,
    Json,
    Mensagem,
    Pergunta,
    Resposta,
    Texto,
    Tipo,
    comandos_do_servidor,
)
from terminal import Tela, analisador_de_conversa


def identificar(
    sock: socket.socket, comandos: Iterator[Comando], formato: Formato, tela: Tela, opcoes: Namespace
) -> tuple[str, Iterator[Comando]] | None:
    """Diz o tipo e responde ao que o servidor pergunta, até estar na fila.

    Devolve o nome e os comandos por ler, ou `None` se fomos recusados.
    """
    nome = None
    sock.sendall(formato.codificar(Entrada(Tipo.CLIENTE, opcoes.departamento)))
    for comando in comandos:
        match comando:
            case Pergunta("nome"):
                nome = resposta = opcoes.nome or tela.perguntar_nome("Digite seu nome: ")
            case Pergunta("departamento", nomes):
                resposta = tela.perguntar_departamento(nomes, varios=False)
            case Fim(motivo):
                tela.mostrar(f"*** {motivo} ***", "vermelho")
                return None
            case _ if nome is not None:
                return nome, itertools.chain([comando], comandos)
            case _:
                continue
        sock.sendall(formato.codificar(Resposta(comando.campo, resposta)))
    tela.mostrar("*** Desconectado do servidor. ***", "vermelho")
    return None


def ouvir_servidor(comandos: Iterator[Comando], tela: Tela) -> None:
    """A thread de leitura: mostra tudo o que o servidor diz, até o fim da conversa ou da conexão."""
    try:
        for comando in comandos:
            match comando:
                case Fila(int(posicao)):
                    tela.mostrar(f"(Você é o número {posicao} na fila. Por favor, aguarde...)", "amarelo")
                case Conectado(nome):
                    tela.conversa(em_curso=True)
                    tela.mostrar(f"*** Conexão estabelecida! Você está falando com {nome}. ***", "verde", tocar=True)
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


def conversar(sock: socket.socket, comandos: Iterator[Comando], formato: Formato, tela: Tela, nome: str) -> None:
    """A thread principal: envia o que a pessoa digita, até ela sair ou a conversa acabar."""
    leitura = threading.Thread(target=ouvir_servidor, args=(comandos, tela), name="leitura", daemon=True)
    leitura.start()
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
    opcoes = analisador_de_conversa(
        "Cliente da fila de atendimento: espera a vez e conversa com um atendente.",
        departamento="o departamento procurado; sem ele, o programa pergunta",
    ).parse_args()
    tela = Tela(Tipo.CLIENTE, som=not opcoes.sem_som)
    formato = Json() if opcoes.json else Texto()
    with tela.erros_para_gente(), socket.create_connection((opcoes.host, opcoes.porta), timeout=10) as sock:
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # cada linha parte na hora
        identificado = identificar(sock, comandos_do_servidor(sock.recv, formato), formato, tela, opcoes)
        if identificado is None:
            return 1
        nome, comandos = identificado
        tela.mostrar("Procurando um atendente...")
        conversar(sock, comandos, formato, tela, nome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
