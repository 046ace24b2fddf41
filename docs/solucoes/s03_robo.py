"""Solução 3: um atendente que responde sozinho.

    python docs/solucoes/s03_robo.py 127.0.0.1 12345

Não há thread de leitura: o robô só fala depois de ouvir, e um laço basta. O protocolo não é
reescrito: os bytes viram comandos em `comandos_do_servidor`, e os comandos, bytes em `codificar`.
"""

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from protocolo import Conectado, Entrada, Fim, Mensagem, Pergunta, Resposta, Texto, Tipo  # noqa: E402
from protocolo import comandos_do_servidor  # noqa: E402

NOME = "Robô"
RESPOSTAS = {
    "horário": "Atendemos das 8h às 18h.",
    "preço": "Os preços estão no quadro de avisos.",
    "tchau": None,  # encerra
}


def responder(texto: str) -> str | None:
    """A resposta à pergunta, ou `None` se é hora de encerrar."""
    for palavra, resposta in RESPOSTAS.items():
        if palavra in texto.casefold():
            return resposta
    return f"Não entendi. Posso falar de {' ou '.join(palavra for palavra, r in RESPOSTAS.items() if r)}."


def atender(sock: socket.socket) -> None:
    """Atende um cliente depois do outro, até o servidor encerrar."""
    formato = Texto()

    def dizer(comando: Mensagem | Entrada | Resposta | Fim) -> None:
        sock.sendall(formato.codificar(comando))

    dizer(Entrada(Tipo.ATENDENTE))
    for comando in comandos_do_servidor(sock.recv):
        match comando:  # um Python velho desiste aqui: use o 3.10
            case Pergunta("nome"):
                dizer(Resposta("nome", NOME))
            case Pergunta("departamento"):
                dizer(Resposta("departamento", ""))  # todos
            case Conectado(cliente):
                dizer(Mensagem(NOME, [f"Olá, {cliente}! Sou um robô."]))
            case Mensagem(_, (texto,)):
                resposta = responder(texto)
                dizer(Fim() if resposta is None else Mensagem(NOME, [resposta]))


if __name__ == "__main__":
    try:
        endereco = sys.argv[1], int(sys.argv[2])
    except (IndexError, ValueError):
        sys.exit(__doc__)
    with socket.create_connection(endereco) as conexao:
        atender(conexao)
