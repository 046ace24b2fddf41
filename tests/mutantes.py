"""Os testes provam? Planta um defeito por vez no programa, numa cópia, e diz quais passam despercebidos.

    python tests/mutantes.py                                   cinquenta defeitos ao acaso, com a semente dita
    python tests/mutantes.py --quantos 0 atendimento/filas.py  todos os de um arquivo
    python tests/mutantes.py --so trava                        só os que tiram um `with`, de todos os arquivos

Fica fora da suíte: cada defeito roda os testes até o primeiro que falha, e cem deles levam quase uma hora.
"""

import argparse
import ast
import contextlib
import copy
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

RAIZ = Path(__file__).parent.parent
ARQUIVOS = ["protocolo.py", "servidor.py", *(f"atendimento/{nome}.py" for nome in (
    "filas", "conexao", "carteiro", "maquina", "registro", "turno", "rastro", "opcoes", "terminal",
    "limites", "identificacao", "linha"))]  # fmt: skip

# Primeiro os que mais acham: cada defeito para no primeiro teste que falha.
TESTES = [f"tests/test_{nome}.py" for nome in (
    "protocolo", "turno", "linha", "filas", "envio", "servidor", "registro", "maquina", "opcoes", "perguntas", "json",
    "extensoes", "rastro", "limites", "falhas", "programas", "caos", "solucoes", "turma", "conferir")]  # fmt: skip

# Estes procuram um trecho no programa, e o defeito o mudou, ou mudou a forma em que foi escrito: falhar por isso não é
# achá-lo.
FORA = ["--deselect=tests/test_envio.py::test_a_exploracao_acha_cada_defeito_plantado",
        "--deselect=tests/test_filas.py::test_erro_plantado_e_encontrado"]  # fmt: skip

PRAZO = 180
"""Segundos para a suíte inteira: um defeito que a trava foi achado."""

DAEMON = "o programa acaba por `os._exit`, que não espera por thread nenhuma"
INICIO = "inicialização que é sempre trocada antes de lida"
PARTIDO = "só muda custo: onde se parte um fato enorme"

EQUIVALENTES = {
    r"opcao: dataclass\(slots=True\) -> dataclass\(\)": "só muda custo: a memória de cada objeto",
    r"linha: raise NotImplementedError -> pass": "o método é sempre o de uma subclasse",
    r"filas.py linha: self.tipo = Tipo.CLIENTE -> pass": INICIO,
    r"filas.py numero: 0 -> 1 em posicao: int = 0": INICIO,
    r"servidor.py opcao: .* -> threading.Thread\(target=self._aceitar, name='porteiro'\) em": DAEMON,
    r"filas.py comparacao: lugar < len\(self.fila_clientes\) ": "só muda custo: confere posições que não mudaram",
    r"protocolo.py (numero|frase): .* em (MAXIMO_DO_FATO|self._em_volta|seguidas, ocupam|ocupam) ": PARTIDO,
    r"protocolo.py comparacao: ocupam > MAXIMO_DO_FATO ": PARTIDO,
    r"frase: '[\w.]+ \| None' -> ": "uma anotação, que ninguém lê ao rodar",
    r"filas.py linha: sem_atendente.add\(departamento\) -> pass": "só muda custo: procura outra vez quem não há",
    r"protocolo.py numero: 8 -> 9 em maximo = ": "só muda custo: seis vezes a linha já bastavam",
    r"protocolo.py (numero|frase): .* em _CABE_SEMPRE ": "só muda custo: mede umas linhas que caberiam",
    r"protocolo.py comparacao: len\(lida\) <= _CABE_SEMPRE ": "só muda custo: mede uma linha que caberia",
    r"protocolo.py comparacao: linha.count\('\['\) \+ linha.count\('\{'\) > ": "só muda custo: confere mais uma",
    r"protocolo.py (linha|numero): .*ocupam = 0( -> pass)?$": INICIO,
    r"protocolo.py numero: 0 -> 1 em return max\(": "zero níveis, ou um, estão longe do limite",
    r"protocolo.py numero: 16384 -> 16385 em ": "só muda custo: um byte a mais por leitura",
    r"rastro.py numero: 0 -> 1 em self._sobrava = 0": "só a primeira sobra, e de um byte, não se contaria",
    r"(registro|rastro).py opcao: .* -> threading.Thread\(target=\S+, name='\w+'\) em": DAEMON,
    r"registro.py numero: 0 -> 1 em self._gravados = 0": INICIO,
    r"registro.py numero: 0 -> 1 em self._sairam = 0": "só muda custo: um byte da espera",
    r"registro.py numero: .* em BYTES_POR_PENDENTE = ": "só muda custo: um byte",
    r"registro.py numero: 0 -> 1 em gravados = ": "nenhuma linha começa pela quebra",
    r"registro.py linha: self._desistir.wait\(": "só muda custo: com o disco cheio, ao encerrar, tenta sem parar",
    r" em @functools.lru_cache\(maxsize=\d+\) ": "só muda custo: lembra-se de mais",
    r"registro.py comparacao: memoria < LOTE ": "só muda custo: um lote um byte maior",
    r"registro.py numero: .* em (LOTE =|while \(bloco := |fim = \(fim \+ bloco\)\[-4:\])": "só muda custo: lê mais",
    r"rastro.py numero: .* em MAXIMO_NA_ESPERA = ": "só muda custo: um acontecimento a mais na memória",
    r"rastro.py numero: (10|6|0) -> \d+ em cabem = ": "sem borda cabe o que for",
    r"rastro.py comparacao: quem.tipo is quem.tipo.CLIENTE ": "os dois de cada par guardam a mesma conversa",
    r"rastro.py linha: self._dona = '' -> pass": "só a lê quem pede a trava entre outro a tomar e dizer quem é",
    r"rastro.py linha: escrita = escrita\[:cabem\] -> pass": "só muda custo: corta um a um",
    r"linha.py comparacao: len\(texto\) <= colunas ": "só muda custo: dobra letra a letra o que já cabia",
    r"linha.py numero: .* em MAXIMO = ": "só muda custo: um texto um pouco maior",
    r"linha.py linha: self._nova = '' -> pass": INICIO,
    r"conexao.py numero: 65536 -> 65537 em ": "só muda custo: um byte a mais por leitura",
    r"conexao.py numero: .* em (BUFFER_DE_ENVIO|CAIXA_CHEIA) = ": "só muda custo: um pouco mais de memória",
    r"conexao.py comparacao: len\(self.caixa\) > self.CAIXA_CHEIA ": "só o byte exato do teto",
    r"carteiro.py numero: 1 -> 2 em confirmados: int = -1": INICIO,
    r"maquina.py numero: 8 -> 9 em MULTIDAO": "só muda custo: uma thread a mais antes de as juntar",
    r"maquina.py numero: 4 -> 5 em .*TIOCOUTQ": "um byte a mais, que fica em zero",
    r"maquina.py numero: 9 -> 10 em sock.connect": "só escolhe a rota: nada se envia, e nenhuma porta se alcança",
    r"servidor.py numero: 1024 -> 1025 em request_queue_size": "só muda custo: uma conexão a mais esperando",
    r"servidor.py numero: 0 -> 1 em maquina.ao_fechar_a_janela": "não se lê qual sinal foi, só que houve um",
    r"limites.py linha: self._faxina = agora -> pass": "só muda custo: procura as visitas antigas em cada uma",
    r"limites.py comparacao: self._faxina <= ha_pouco ": "só muda custo: esquece-as um instante depois",
    r"limites.py comparacao: max\(\(visitas.relato, \*visitas.novas\)\) > ha_pouco ": "só muda custo: ficam um pouco",
    r"limites.py numero: 10000 -> 10001 em LEMBRADAS": "só muda custo: uma origem a mais na memória",
}
"""Os que sobram por não mudarem nada que se possa ver: uma expressão que se procura no defeito, e o motivo."""

TROCAS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip


def mutacoes(no: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Os defeitos que se podem plantar num nó: o tipo, e o nó que fica no lugar dele."""
    novo = copy.deepcopy(no)
    match no:
        case ast.With(items=[ast.withitem(ast.Call(ast.Name("Fato")))]):
            # Um `Fato`: ainda conta, mas sem a trava na mão.
            sem = ast.Try([*ast.parse("self.trava.release()").body, *novo.body], [], [], [])
            sem.finalbody = ast.parse("self.trava.acquire()").body
            yield "trava", ast.With(novo.items, [sem])
        case ast.With():
            yield "trava", ast.If(ast.Constant(True), novo.body, [])
        case ast.Expr(ast.Constant(str())):
            return  # uma docstring
        case ast.Expr() | ast.Assign() | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "linha", ast.Pass()
        case ast.If():
            novo.test = ast.UnaryOp(ast.Not(), no.test)
            yield "condicao", novo
        case ast.Compare():
            novo.ops[0] = TROCAS[type(no.ops[0])]()
            yield "comparacao", novo
        case ast.BoolOp() | ast.BinOp() if type(no.op) in TROCAS:
            novo.op = TROCAS[type(no.op)]()
            yield "operador", novo
        case ast.Constant(int(valor)) if not isinstance(valor, bool):
            yield "numero", ast.Constant(valor + 1)
        case ast.Constant(str(texto)) if " " in texto:
            yield "frase", ast.Constant(texto + "!")
        case ast.Call(keywords=[_, *_]):
            for lugar in range(len(no.keywords)):
                novo = copy.deepcopy(no)
                del novo.keywords[lugar]
                yield "opcao", novo


class Trocar(ast.NodeTransformer):
    """Troca um nó pelo defeito, e mais nada."""

    def __init__(self, no: ast.AST, defeito: ast.AST) -> None:
        self.no, self.defeito = no, defeito

    def visit(self, no: ast.AST) -> ast.AST:
        return self.defeito if no is self.no else self.generic_visit(no)


class Defeito(NamedTuple):
    """Um defeito que se pode plantar num arquivo."""

    arquivo: str
    nome: str
    lugar: int  # o nó, pela ordem de `ast.walk`
    qual: int  # das mutações dele

    def plantado(self) -> str:
        """O programa com o defeito."""
        arvore = ast.parse((RAIZ / self.arquivo).read_text(encoding="utf-8"))
        no = list(ast.walk(arvore))[self.lugar]
        _, defeito = list(mutacoes(no))[self.qual]
        return ast.unparse(ast.fix_missing_locations(Trocar(no, defeito).visit(arvore)))


def defeitos(arquivo: str) -> Iterator[Defeito]:
    arvore = ast.parse((RAIZ / arquivo).read_text(encoding="utf-8"))
    onde: dict[ast.AST, ast.AST] = {}  # o comando de que o nó faz parte
    for lugar, no in enumerate(ast.walk(arvore)):
        for filho in ast.iter_child_nodes(no):
            onde[filho] = filho if isinstance(filho, ast.stmt) else onde.get(no, no)
        if isinstance(onde.get(no), ast.Expr) and onde[no].value is no:
            continue  # o texto de uma docstring
        for qual, (tipo, novo) in enumerate(mutacoes(no)):
            # O trecho diz qual é o defeito: o número da linha mudaria a cada edição.
            nome = f"{arquivo} {tipo}: {_em_uma_linha(no)} -> {_em_uma_linha(novo)}"
            yield Defeito(arquivo, nome if onde[no] is no else f"{nome} em {_em_uma_linha(onde[no])}", lugar, qual)


def _em_uma_linha(no: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(no)).split())[:70]


class Troca(NamedTuple):
    """Um defeito escrito à mão: um trecho, que tem de aparecer uma vez só no arquivo, e o que fica no lugar."""

    arquivo: str
    trecho: str
    troca: str

    def plantado(self) -> str:
        """O programa com o defeito."""
        programa = (RAIZ / self.arquivo).read_text(encoding="utf-8")
        assert programa.count(self.trecho) == 1, f"não aparece uma vez só em {self.arquivo}: {self.trecho}"
        return programa.replace(self.trecho, self.troca)


class SemDefeito(NamedTuple):
    """O arquivo como fica quando se planta nele um defeito, mas sem nenhum."""

    arquivo: str

    def plantado(self) -> str:
        return ast.unparse(ast.parse((RAIZ / self.arquivo).read_text(encoding="utf-8")))


@contextlib.contextmanager
def copia_com(defeito: Defeito | Troca | SemDefeito) -> Iterator[Path]:
    """A pasta de uma cópia do projeto com o defeito."""
    with tempfile.TemporaryDirectory() as pasta:
        copia = Path(pasta) / "projeto"
        shutil.copytree(RAIZ, copia, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        (copia / defeito.arquivo).write_text(defeito.plantado(), encoding="utf-8")
        yield copia


def achado(defeito: Defeito | Troca | SemDefeito) -> bool:
    """Diz se a suíte, rodada numa cópia do projeto com o defeito, falha ou trava."""
    with copia_com(defeito) as copia:
        comando = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *FORA, *TESTES]
        try:
            return subprocess.run(comando, cwd=copia, capture_output=True, timeout=PRAZO).returncode != 0
        except subprocess.TimeoutExpired:
            return True


def main() -> int:
    analisador = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    analisador.add_argument("arquivos", nargs="*", default=ARQUIVOS)
    analisador.add_argument("--quantos", type=int, default=50, help="0: todos")
    analisador.add_argument("--so", help="um tipo: trava, linha, condicao, comparacao, operador, numero, frase, opcao")
    analisador.add_argument("--semente", type=int, default=random.randrange(10**6))
    analisador.add_argument("--juntos", type=int, default=2, help="quantas suítes ao mesmo tempo")
    opcoes = analisador.parse_args()
    todos = [defeito for arquivo in ARQUIVOS for defeito in defeitos(arquivo)]
    for regra in EQUIVALENTES:
        if not any(re.search(regra, defeito.nome) for defeito in todos):
            print(f"AVISO   nenhum defeito casa com {regra}")
    comecos = tuple(f"{arquivo} {opcoes.so or ''}" for arquivo in opcoes.arquivos)
    pedidos = [defeito for defeito in todos if defeito.nome.startswith(comecos)]
    todos = [defeito for defeito in pedidos if not any(re.search(regra, defeito.nome) for regra in EQUIVALENTES)]
    equivalem = len(pedidos) - len(todos)
    if opcoes.quantos and opcoes.quantos < len(todos):
        todos = random.Random(opcoes.semente).sample(todos, opcoes.quantos)
    print(f"{len(todos)} defeitos, semente {opcoes.semente}; fora eles, {equivalem} equivalentes", flush=True)
    # Com a máquina cheia um teste estoura um prazo, ou procura um trecho no arquivo: todo defeito pareceria achado.
    for arquivo in {defeito.arquivo for defeito in todos}:
        if achado(SemDefeito(arquivo)):
            print(f"Sem defeito nenhum em {arquivo}, a suíte já falha ou passa do prazo: o que achasse não valeria.")
            return 2

    def tentar(defeito: Defeito) -> bool:
        foi = achado(defeito)
        print("achado " if foi else "SOBROU ", defeito.nome, flush=True)
        return foi

    with ThreadPoolExecutor(opcoes.juntos) as threads:
        sobraram = list(threads.map(tentar, todos)).count(False)
    print(f"{len(todos) - sobraram} achados, {sobraram} sobraram")
    return min(sobraram, 1)


if __name__ == "__main__":
    sys.exit(main())
