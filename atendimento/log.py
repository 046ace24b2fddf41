"""O log do servidor: o que ele conta a quem o abriu, sem que ninguém espere pela tela."""

import contextlib
import logging
import logging.handlers
import queue
import sys

from atendimento.terminal import aceitar_tudo, colorir, usar_cores

log = logging.getLogger("fila")

CORES_DO_LOG = {
    "CONNECT": "verde",
    "MATCHMAKER": "ciano",
    "DISCONNECT": "amarelo",
    "RE-QUEUE": "azul",
    "PAUSA": "azul",
    "ERRO": "vermelho",
}


class LogSemEspera(logging.handlers.QueueHandler):
    """Passa as linhas à thread que escreve; com a saída parada, descarta em vez de esperar."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # o texto, quem o faz é a thread que escreve: quem conta um fato pode ter a vez de alguém

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


class Formatador(logging.Formatter):
    """`14:05:09 [CONNECT] Yuri (CLIENTE) conectou de 127.0.0.1:50312.`"""

    def __init__(self, cores: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self.cores = cores

    def format(self, record: logging.LogRecord) -> str:
        if record.name == "fila.rastro":
            return record.getMessage()  # já traz a sua hora, e as suas colunas
        marca = getattr(record, "marca", "SERVIDOR")
        inicio = colorir(f"[{marca}]", CORES_DO_LOG.get(marca), self.cores)
        return f"{self.formatTime(record, self.datefmt)} {inicio} {record.getMessage()}"


def iniciar_log() -> queue.Queue:
    """Liga o log à saída padrão e devolve a fila por onde ele passa."""
    logging.raiseExceptions = False  # disco cheio, pipe quebrado: o log se perde, o servidor segue
    aceitar_tudo(sys.stdout)
    fila: queue.Queue = queue.Queue(maxsize=10_000)
    saida = logging.StreamHandler(sys.stdout) if sys.stdout else logging.NullHandler()
    saida.setFormatter(Formatador(usar_cores(sys.stdout)))
    logging.handlers.QueueListener(fila, saida).start()
    log.addHandler(LogSemEspera(fila))
    log.setLevel(logging.INFO)
    return fila
