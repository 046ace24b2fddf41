"""A fila do `listen`: com 5 lugares, uma turma que se conecta junta fica de fora."""

import contextlib
import select
import socket
import time

from experimento import certo, conferir, conserto, errado, porque, titulo, ver

from servidor import Servidor

TURMA = 50
PRAZO = 1.0  # segundos que um aluno espera pela conexão


def conectaram(lugares: int) -> int:
    """Quantos da turma se conectam em `PRAZO`, com o servidor ocupado demais para chamar `accept`."""
    with contextlib.ExitStack() as pilha:
        ouvinte = pilha.enter_context(socket.socket())
        ouvinte.bind(("127.0.0.1", 0))
        ouvinte.listen(lugares)
        turma = [pilha.enter_context(socket.socket()) for _ in range(TURMA)]
        for aluno in turma:
            aluno.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                aluno.connect(ouvinte.getsockname())
        esperando, dentro, limite = set(turma), 0, time.monotonic() + PRAZO
        while esperando and (resta := limite - time.monotonic()) > 0:
            # No Windows, a conexão recusada aparece no terceiro conjunto.
            _, prontos, recusados = select.select([], esperando, esperando, resta)
            for aluno in {*prontos, *recusados}:
                esperando.discard(aluno)
                dentro += aluno.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        return dentro


titulo(f"{TURMA} alunos se conectam ao mesmo tempo")
print("O servidor está ocupado por um instante. O sistema aceita por ele, até encher a fila do listen.")
com_cinco = conectaram(5)
ver("listen(5), como no original", f"{com_cinco} de {TURMA} conectaram em {PRAZO:.0f} s")
conferir(com_cinco < TURMA, "alguém de fora com listen(5)")
errado(f"{TURMA - com_cinco} ficaram de fora, ou esperam que o sistema deles tente outra vez")
porque("""O kernel completa a conexão e a põe numa fila até o accept. Cheia a fila, o pedido que chega é
descartado sem aviso, e quem pediu só tenta de novo daí a um segundo, depois dois, depois quatro.""")

conserto("uma fila do tamanho da turma")
lugares = Servidor.request_queue_size
com_muitos = conectaram(lugares)
ver(f"listen({lugares}), como no projeto", f"{com_muitos} de {TURMA} conectaram")
conferir(com_muitos == TURMA, "todos dentro")
certo("todos dentro, e o servidor os aceita quando puder")
print("\nNo projeto: servidor.py, Servidor.request_queue_size. O padrão do socketserver é 5.")
