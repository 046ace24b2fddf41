"""Solução 5: um comando novo, de ponta a ponta: `HORA:` responde `AVISO:São 14h05.`

São três peças, as mesmas de qualquer comando: um tipo, a sua forma no fio e o passo que ele pede. No
projeto, cada uma seria uma linha no lugar que lhe cabe (`protocolo.py`, a tabela `_DO_PARTICIPANTE`;
`atendimento/filas.py`, a tabela `PASSOS`). Aqui são acrescentadas de fora, para o projeto ficar como está.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

# Antes dos outros: é quem diz de que Python se precisa.
from atendimento import filas  # noqa: E402
import protocolo  # noqa: E402
import servidor  # noqa: E402


@dataclass(slots=True)
class Hora:
    """C -> S: que horas são aí?"""


def dizer_a_hora(_filas: filas.Filas, fato: filas.Fato, quem: filas.Participante, _hora: Hora) -> None:
    """O passo: só diz respeito a quem perguntou, e não muda nada. Exige a trava."""
    fato.contar(quem, protocolo.Aviso(time.strftime("São %Hh%M.")))


FORMAS_NO_FIO = protocolo.Texto._DO_PARTICIPANTE | {"HORA": (Hora, None)}
PASSOS = {onde: passos | {Hora: dizer_a_hora} for onde, passos in filas.PASSOS.items()}


def instalar() -> None:
    """Acrescenta o comando ao projeto em memória."""
    protocolo.Texto._DO_PARTICIPANTE = FORMAS_NO_FIO
    filas.PASSOS = PASSOS


if __name__ == "__main__":
    instalar()
    sys.exit(servidor.main())
