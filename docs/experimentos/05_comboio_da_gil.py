"""O comboio da GIL: as mesmas threads andam mais rápido num núcleo do que em dois."""

import os
import statistics
import sys

from experimento import RAIZ, certo, errado, porque, titulo, ver

from desempenho import conversar, no_ar, pares

PARES, SEGUNDOS, RODADAS = 40, 0.8, 3

if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
    print("Este experimento precisa do Linux e de dois núcleos.")
    sys.exit(0)

titulo(f"{PARES} pares conversam: {2 * PARES} threads no servidor")
print("O mesmo servidor, ora com as threads espalhadas pelos núcleos, ora todas num só.")
COMANDO = [sys.executable, str(RAIZ / "servidor.py"), "--host", "127.0.0.1", "--porta", "0", "--ritmo", "0"]
VARIANTES = {"espalhadas": [*COMANDO, "--varios-nucleos"], "num núcleo": COMANDO}
por_segundo: dict[str, list[float]] = {nome: [] for nome in VARIANTES}
for rodada in range(1, RODADAS + 1):
    for nome, comando in VARIANTES.items():  # alternadas: o que a máquina fizer a mais atinge as duas
        with no_ar(comando) as (porta, _), pares(porta, PARES) as pontas:
            por_segundo[nome].append(len(conversar(pontas, SEGUNDOS)) / SEGUNDOS)
        ver(f"rodada {rodada}, {nome}", f"{por_segundo[nome][-1]:8.0f} mensagens por segundo")

espalhadas, num_so = (statistics.median(valores) for valores in por_segundo.values())
razao = num_so / espalhadas
titulo("Medianas")
ver("espalhadas", f"{espalhadas:8.0f}")
ver("num núcleo", f"{num_so:8.0f}   ({razao:.1f} vezes)".replace(".", ","))
if razao > 1.1:
    errado("o segundo núcleo não ajudou: atrapalhou")
    certo("com as threads num núcleo só, o servidor faz mais")
else:
    print("  Desta vez não se viu a diferença que se esperava: a máquina está ocupada?")
porque("""A GIL deixa uma thread por vez executar Python, e em cada recv e cada send ela troca de dona. Num
núcleo, quem espera por ela está parado, e a troca é barata. Em dois, a outra thread acorda de
verdade, no outro núcleo, vê a GIL ocupada e dorme: andam em fila, cada uma acordando a seguinte.""")
print("\nNo projeto: atendimento/maquina.py, Nucleos.ajustar; a história inteira está em docs/desempenho.md.")
