"""O escalonador é você: a cada passo, escolha que thread executa a sua próxima linha, e ache a ordem que quebra tudo.

    python docs/escalonador.py                    as quatro fases, a partir da primeira
    python docs/escalonador.py --fase 2           a partir da segunda
    python docs/escalonador.py --roteiro 1,2,1,t  sem terminal: faz isto, e sai

    1 2 3  um passo naquela thread        t  tenta todas as ordens
    d      desfaz o último passo          p  próxima fase
    r      recomeça a fase                s  sai

Numa execução de verdade quem escolhe é o sistema, e a ordem ruim sai uma vez em mil. Aqui ela sai quando se quer.
"""

import collections
import contextlib
import functools
import inspect
import itertools
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from atendimento.opcoes import Analisador, inteiro  # noqa: E402
from atendimento.terminal import aceitar_tudo  # noqa: E402

# --- O que as threads dividem -------------------------------------------------------------------


class Trava:
    """Uma `Lock` que diz quem a tem. Só dá o passo de tomá-la quem a encontra livre."""

    def __init__(self, nome: str, sala: "Sala") -> None:
        self.nome, self.sala = nome, sala
        self.dono = ""

    def acquire(self) -> None:
        self.dono = self.sala.quem

    def release(self) -> None:
        self.dono = ""

    def livre(self) -> bool:
        return not self.dono

    def __str__(self) -> str:
        return self.nome


class Pessoa:
    """Quem está do outro lado de um socket em que cabem `cabem` linhas que ela ainda não leu; `None`: lê na hora."""

    def __init__(self, nome: str, sala: "Sala", cabem: int | None = None) -> None:
        self.nome, self.cabem = nome, cabem
        self.vez = Trava(f"a vez de {nome}", sala)
        self.caixa: list[str] = []  # o que o sistema ainda não aceitou
        self.socket: list[str] = []  # o que o sistema aceitou

    def livre(self) -> bool:
        return self.cabem is None or len(self.socket) < self.cabem

    def sendall(self, linha: str) -> None:
        self.socket.append(linha)

    def contar(self, linha: str) -> None:
        self.caixa.append(linha)

    def escoar(self) -> None:
        """Envia o que couber já, e não espera."""
        while self.caixa and self.livre():
            self.socket.append(self.caixa.pop(0))

    def __str__(self) -> str:
        return f"lugar no socket de {self.nome}"

    def __repr__(self) -> str:
        return self.nome


class Sala:
    """A memória que as threads dividem."""

    def __init__(self) -> None:
        self.quem = ""  # a thread que dá este passo
        self.trava = Trava("a trava", self)
        self.fila_atendentes = ["Ana"]
        self.fila_clientes: list[str] = []
        self.par: dict[str, object] = {}
        self.ana, self.caio = Pessoa("Ana", self), Pessoa("Caio", self)
        self.mudo = Pessoa("Mudo", self, cabem=1)

    def memoria(self) -> dict[str, object]:
        """Tudo o que há nela, com os nomes que se mostram."""
        return {
            "trava": self.trava.dono or "livre",
            "fila_atendentes": self.fila_atendentes,
            "fila_clientes": self.fila_clientes,
            "par": self.par,
            "Ana leu": self.ana.socket,
            "vez de Mudo": self.mudo.vez.dono or "livre",
            "caixa de Mudo": self.mudo.caixa,
            "no socket de Mudo": self.mudo.socket,
            "vez de Caio": self.caio.vez.dono or "livre",
            "Caio leu": self.caio.socket,
        }


# --- Os trechos: geradores, que cedem antes de cada linha -----------------------------------------
#
# O que se cede é o que a linha seguinte pode ter de esperar: uma trava que não está livre, um socket cheio.


def entrar_sem_trava(sala: Sala, eu: str) -> Iterator:
    yield
    if sala.fila_atendentes:
        yield
        atendente = sala.fila_atendentes[0]
        yield
        sala.par[eu] = atendente
        yield
        sala.fila_atendentes.remove(atendente)
    else:
        yield
        sala.fila_clientes.append(eu)


def formar_par_e_soltar(sala: Sala) -> Iterator:
    yield sala.trava
    sala.trava.acquire()
    yield
    sala.par["Yuri"] = sala.ana
    yield
    sala.trava.release()
    yield sala.ana
    sala.ana.sendall("CONECTADO")


def falar_e_soltar(sala: Sala) -> Iterator:
    yield sala.trava
    sala.trava.acquire()
    yield
    ouve = sala.par.get("Yuri")
    yield
    sala.trava.release()
    yield
    if ouve:
        yield ouve
        ouve.sendall("Olá!")


def falar_com_a_trava(sala: Sala, ouve: Pessoa) -> Iterator:
    for texto in "Olá!", "Tudo bem?":
        yield sala.trava
        sala.trava.acquire()
        yield ouve
        ouve.sendall(texto)
        yield
        sala.trava.release()


def formar_par_de_maos_dadas(sala: Sala) -> Iterator:
    yield sala.trava
    sala.trava.acquire()
    yield
    sala.par["Yuri"] = sala.mudo
    yield sala.mudo.vez
    sala.mudo.vez.acquire()
    yield
    sala.trava.release()
    yield
    sala.mudo.contar("CONECTADO")
    yield
    sala.mudo.escoar()
    yield
    sala.mudo.vez.release()


def falar_de_maos_dadas(sala: Sala, eu: str, fala: str) -> Iterator:
    yield sala.trava
    sala.trava.acquire()
    yield
    ouve = sala.par.get(eu)
    yield
    if ouve:
        yield ouve.vez
        ouve.vez.acquire()
    yield
    sala.trava.release()
    yield
    if ouve:
        yield
        ouve.contar(fala)
        yield
        ouve.escoar()
        yield
        ouve.vez.release()


# --- As fases ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fase:
    """Um jogo. Que todas as threads parem antes do fim quebra qualquer um; `defeito(sala)` diz o que mais o quebra."""

    titulo: str
    pergunta: str
    moral: str  # o que se aprende quando quebra, ou quando não há como
    threads: Sequence[tuple[str, Callable[[Sala], Iterator]]]  # o nome de cada uma, e o trecho que ela executa
    vista: Sequence[str]  # o que se mostra da memória
    defeito: Callable[[Sala], str] = lambda sala: ""  # "" se nada está errado
    preparar: Callable[[Sala], None] = lambda sala: None


def duas_vezes_ana(sala: Sala) -> str:
    return "Yuri e Bia têm os dois a mesma atendente" if list(sala.par.values()).count("Ana") > 1 else ""


def fora_de_ordem(quem: Pessoa) -> str:
    contado = quem.socket + quem.caixa
    errado = contado and contado[0] != "CONECTADO"
    return f"a conversa de {quem.nome} começa por {contado[0]!r}, e não pelo CONECTADO" if errado else ""


FASES = (
    Fase(
        titulo="dois clientes, uma atendente, nenhuma trava",
        pergunta="Só há uma atendente livre. Faça com que os dois clientes fiquem com ela.",
        moral="Perguntar e tomar são dois passos, e entre eles cabe outra thread. A trava faz dos dois um só.",
        threads=[(nome, functools.partial(entrar_sem_trava, eu=nome)) for nome in ("Yuri", "Bia")],
        vista=("fila_atendentes", "fila_clientes", "par"),
        defeito=duas_vezes_ana,
    ),
    Fase(
        titulo="decidir com a trava, enviar depois de soltá-la",
        pergunta="O par se forma, e Yuri fala. Faça com que Ana leia a fala antes do CONECTADO.",
        moral="A trava ordena as decisões, e não os envios: quem a solta primeiro pode enviar por último.",
        threads=[("quem forma o par", formar_par_e_soltar), ("Yuri", falar_e_soltar)],
        vista=("trava", "par", "Ana leu"),
        defeito=lambda sala: fora_de_ordem(sala.ana),
    ),
    Fase(
        titulo="enviar esperando, com a trava na mão",
        pergunta="Mudo não lê, e no socket dele cabe uma linha. Faça com que ninguém mais possa falar.",
        moral="Quem espera por um participante com a trava na mão faz todos esperarem por ele.",
        threads=[
            ("Yuri, par de Mudo", lambda sala: falar_com_a_trava(sala, sala.mudo)),
            ("Bia, par de Caio", lambda sala: falar_com_a_trava(sala, sala.caio)),
        ],
        vista=("trava", "no socket de Mudo", "Caio leu"),
    ),
    Fase(
        titulo="de mãos dadas",
        pergunta="As duas armadilhas juntas: um par que se forma, e um Mudo que não lê. Consegue quebrar?",
        moral="A vez de quem ouve se toma antes de soltar a trava, e enviar nunca espera: a sobra fica na caixa.",
        threads=[
            ("quem forma o par", formar_par_de_maos_dadas),
            ("Yuri, par de Mudo", functools.partial(falar_de_maos_dadas, eu="Yuri", fala="Olá!")),
            ("Bia, par de Caio", functools.partial(falar_de_maos_dadas, eu="Bia", fala="Oi!")),
        ],
        vista=("trava", "par", "vez de Mudo", "caixa de Mudo", "no socket de Mudo", "vez de Caio", "Caio leu"),
        defeito=lambda sala: fora_de_ordem(sala.mudo),
        preparar=lambda sala: sala.par.update(Bia=sala.caio),
    ),
)


# --- O jogo -----------------------------------------------------------------------------------------


class Jogo:
    """Uma fase em andamento. Um gerador não anda para trás: desfazer é recomeçar e refazer os passos menos um."""

    def __init__(self, fase: Fase, passos: Sequence[int] = ()) -> None:
        self.fase, self.sala, self.passos = fase, Sala(), []
        self.morte = ""  # a thread que um erro derrubou, e qual
        fase.preparar(self.sala)
        self.nomes = [nome for nome, _ in fase.threads]
        self.trechos = [trecho(self.sala) for _, trecho in fase.threads]
        self.esperas = [next(trecho) for trecho in self.trechos]  # o que a próxima linha de cada um tem de esperar
        for passo in passos:
            self.dar_um_passo(passo)

    def acabou(self, thread: int) -> bool:
        return self.trechos[thread].gi_frame is None

    def pode(self, thread: int) -> bool:
        """A thread tem uma próxima linha, e nada a impede."""
        espera = self.esperas[thread]
        return not self.acabou(thread) and (espera is None or espera.livre())

    def podem(self) -> list[int]:
        return [thread for thread in range(len(self.trechos)) if self.pode(thread)]

    def dar_um_passo(self, thread: int) -> None:
        """Executa a próxima linha de uma thread que `pode`."""
        self.sala.quem = self.nomes[thread]
        self.passos.append(thread)
        try:
            self.esperas[thread] = next(self.trechos[thread], None)
        except Exception as erro:  # numa thread de verdade também: ela morre, e as outras seguem
            self.morte = f"a thread de {self.sala.quem} morreu: {type(erro).__name__}, {erro}"

    def defeito(self) -> str:
        """O que está errado, ou "" se nada."""
        presas = [nome for thread, nome in enumerate(self.nomes) if not self.acabou(thread)]
        if presas and not self.podem():
            return "ninguém mais pode andar. Parados para sempre: " + "; ".join(presas)
        return self.morte or self.fase.defeito(self.sala)

    def foto(self) -> tuple:
        """Dois jogos de igual foto têm o mesmo futuro."""
        quadros = [trecho.gi_frame for trecho in self.trechos]
        # Onde cada uma parou, e o que tem nas suas variáveis: a primeira é sempre a sala.
        paradas = [quadro and (quadro.f_lasti, repr(list(quadro.f_locals.values())[1:])) for quadro in quadros]
        return (*paradas, self.morte, repr(self.sala.memoria()))


@dataclass
class Busca:
    """O que se achou andando por todas as ordens."""

    mais_curta: list[int] | None  # os passos até o primeiro defeito
    ordens: int  # que chegam ao fim, ou a um defeito
    situacoes: int  # diferentes por que elas passam


def tentar_todas(fase: Fase) -> Busca:
    """Busca em largura: das ordens mais curtas às mais longas, sem passar duas vezes pela mesma situação."""
    inicio = Jogo(fase)
    faltam, caminhos = collections.deque([inicio]), {inicio.foto(): 1}  # de quantos modos se chega a cada situação
    mais_curta, ordens = None, 0
    while faltam:
        jogo = faltam.popleft()
        quebrou = jogo.defeito()
        if quebrou and mais_curta is None:
            mais_curta = jogo.passos
        podem = [] if quebrou else jogo.podem()
        if not podem:
            ordens += caminhos[jogo.foto()]
        for thread in podem:
            depois = Jogo(fase, [*jogo.passos, thread])
            foto = depois.foto()
            if foto not in caminhos:
                faltam.append(depois)
            # Toda situação está a um número certo de passos do começo: a fila acaba uma distância antes da outra.
            caminhos[foto] = caminhos.get(foto, 0) + caminhos[jogo.foto()]
    return Busca(mais_curta, ordens, len(caminhos))


# --- A tela -----------------------------------------------------------------------------------------


def linhas_de(codigo: types.CodeType) -> list[tuple[int, str]]:
    """As linhas de um trecho, com o número de cada uma no arquivo; sem o `def` e sem os `yield`."""
    fonte, primeira = inspect.getsourcelines(codigo)
    corpo = textwrap.dedent("".join(fonte[1:])).replace("sala.", "").splitlines()
    return [(primeira + 1 + i, linha) for i, linha in enumerate(corpo) if not re.match(r"\s*yield\b", linha)]


def coluna(jogo: Jogo, thread: int) -> list[str]:
    """O trecho de uma thread: `>` na próxima linha, `x` se ela tem de esperar."""
    trecho, espera = jogo.trechos[thread], jogo.esperas[thread]
    quadro = trecho.gi_frame
    linhas = linhas_de(trecho.gi_code)
    proxima = next((numero for numero, _ in linhas if quadro and numero > quadro.f_lineno), None)
    marca = ">" if jogo.pode(thread) else "x"
    situacao = "" if jogo.pode(thread) else "(acabou)" if quadro is None else f"(espera {espera})"
    corpo = [f"{marca if numero == proxima else ' '} {linha}" for numero, linha in linhas]
    return [f"{thread + 1} {jogo.nomes[thread]}", f"  {situacao}", *corpo]


def mostrar(jogo: Jogo) -> None:
    """As colunas, a memória, e o defeito se houver."""
    colunas = [coluna(jogo, thread) for thread in range(len(jogo.trechos))]
    larguras = [max(map(len, linhas)) + 2 for linhas in colunas]
    print()
    for lado_a_lado in itertools.zip_longest(*colunas, fillvalue=""):
        print("".join(map(str.ljust, lado_a_lado, larguras)).rstrip())
    print()
    memoria = jogo.sala.memoria()
    for nome in jogo.fase.vista:
        print(f"  {nome:<18} {memoria[nome]}")
    defeito = jogo.defeito()
    if defeito:
        print(f"\n  QUEBROU: {defeito}.\n  {jogo.fase.moral}")
    elif not jogo.podem():
        print("\n  Todas acabaram, e nada se quebrou. Com d ou r se tenta outra ordem; com t, todas.")


def contar_a_busca(fase: Fase) -> None:
    busca = tentar_todas(fase)
    ordens = f"{busca.ordens:,}".replace(",", ".")
    viu = f"Vi todas: {ordens} ordens, que passam por {busca.situacoes} situações."
    if busca.mais_curta is None:
        print(f"\n  Nenhuma ordem quebra. {viu}\n  {fase.moral}")
    else:
        passos = ",".join(str(thread + 1) for thread in busca.mais_curta)
        print(f"\n  A mais curta que quebra tem {len(busca.mais_curta)} passos; para vê-la: r,{passos}\n  {viu}")


AJUDA = "1 2 3 um passo · d desfaz · r recomeça · t tenta todas · p próxima fase · s sai"


class Partida:
    """As fases, uma depois da outra, e os comandos de quem joga."""

    def __init__(self, fase: int) -> None:
        self.comecar(fase)

    def comecar(self, fase: int) -> None:
        self.fase, self.jogo = fase, Jogo(FASES[fase])
        titulo = f"Fase {fase + 1} de {len(FASES)}: {FASES[fase].titulo}"
        print(f"\n{titulo}\n{'=' * len(titulo)}\n{FASES[fase].pergunta}")
        mostrar(self.jogo)

    def cumprir(self, comando: str) -> bool:
        """Faz o que o comando de uma letra pede; diz se a partida continua."""
        jogo = self.jogo
        if comando == "s":
            return False
        if comando == "p":
            if self.fase + 1 == len(FASES):
                print("\n  Era a última fase.")
                return False
            self.comecar(self.fase + 1)
        elif comando == "t":
            contar_a_busca(jogo.fase)
        elif comando == "r":
            self.recomecar_com([])
        elif comando == "d":
            self.recomecar_com(jogo.passos[:-1])
        elif comando in "123" and int(comando) <= len(jogo.trechos):
            self.andar(int(comando) - 1)
        else:
            print(f"  {comando!r}? {AJUDA}")
        return True

    def recomecar_com(self, passos: Sequence[int]) -> None:
        self.jogo = Jogo(self.jogo.fase, passos)
        mostrar(self.jogo)

    def andar(self, thread: int) -> None:
        if self.jogo.defeito():
            print("  Já quebrou: d desfaz, r recomeça, p vai para a próxima fase.")
        elif self.jogo.acabou(thread):
            print("  Essa thread já acabou.")
        elif not self.jogo.pode(thread):
            print(f"  Essa thread não pode andar: espera {self.jogo.esperas[thread]}.")
        else:
            self.jogo.dar_um_passo(thread)
            mostrar(self.jogo)


def ler_comandos(roteiro: str | None) -> Iterator[str]:
    """Os comandos, letra a letra: os do roteiro ou, se não há um, os que se digitam, até o fim da entrada."""
    if roteiro is None:
        print(f"\n{AJUDA}")
    linhas = [roteiro] if roteiro is not None else iter(lambda: input("> "), None)
    with contextlib.suppress(EOFError):
        for linha in linhas:
            yield from re.findall(r"[^\s,]", linha.lower())


def main(argumentos: Sequence[str] | None = None) -> None:
    for fluxo in sys.stdin, sys.stdout:
        aceitar_tudo(fluxo)
    analisador = Analisador("O escalonador é você: ache a ordem que quebra o programa.")
    analisador.opcao("--fase", 1, "por onde começar, de 1 a 4", tipo=inteiro(1, len(FASES)))
    analisador.opcao("--roteiro", None, "os comandos, sem perguntar: 1,2,1,t")
    opcoes = analisador.parse_args(argumentos)
    with contextlib.suppress(KeyboardInterrupt):
        partida = Partida(opcoes.fase - 1)
        for comando in ler_comandos(opcoes.roteiro):
            if not partida.cumprir(comando):
                return
    print()


if __name__ == "__main__":
    main()
