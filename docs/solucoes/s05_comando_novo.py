"""Solução 5: um comando novo, de ponta a ponta: `HORA:` responde `AVISO:São 14h05.`

São três peças, as mesmas de qualquer comando: um tipo, a sua forma no fio e o fato que ele conta. No
projeto, cada uma seria uma linha no lugar que lhe cabe (`protocolo.py`, a tabela `_PEDIDOS`;
`servidor.py`, a tabela `FATOS`). Aqui são acrescentadas de fora, para o projeto ficar como está.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import protocolo  # noqa: E402
import servidor  # noqa: E402
from filas import Efeito, Filas, Participante  # noqa: E402


@dataclass(slots=True)
class Hora:
    """C -> S: que horas são aí?"""


def dizer_a_hora(filas: Filas, eu: Participante, _: Hora) -> Efeito:
    """O fato: só diz respeito a quem perguntou, e não muda nada."""
    return filas.responder(eu, protocolo.Aviso(time.strftime("São %Hh%M.")))


FORMAS_NO_FIO = protocolo.Texto._PEDIDOS | {"HORA:": Hora}
FATOS = servidor.FATOS | {Hora: dizer_a_hora}


def instalar() -> None:
    """Acrescenta o comando ao projeto em memória."""
    protocolo.Texto._PEDIDOS = FORMAS_NO_FIO
    servidor.FATOS = FATOS


if __name__ == "__main__":
    instalar()
    sys.exit(servidor.main())
